//! `token`.

use moorgate_api::{client::Client, view};

use super::CommandError;
use crate::{
    cli::Token,
    output::{self, Table, answer, when},
};

pub(super) async fn run(client: &Client, command: Token) -> Result<(), CommandError> {
    match command {
        Token::Add { account, scope, json } => {
            let new = client.add_token(account.as_deref(), scope.into()).await?;
            // Alone on its line, so that a script needs no --json.
            answer(json, &new, || format!("{}\n", new.token))?;
            if !json.json {
                output::note(format_args!("its id is {0}; revoke it with: moorgate token revoke {0}", new.id));
            }
            Ok(())
        }
        Token::List(json) => {
            let tokens = client.tokens().await?;
            answer(json, &tokens, || list(&tokens))
        }
        Token::Revoke { id } => {
            client.revoke_token(&id).await?;
            output::print(&format!("token {id} revoked\n"))
        }
    }
}

fn list(tokens: &[view::Token]) -> String {
    let mut table = Table::new(["ID", "WHOSE", "SCOPE", "CREATED"]);
    for token in tokens {
        let whose = token.account.as_ref().map_or_else(|| "operator".into(), |account| format!("account {account}"));
        table.row([token.id.clone(), whose, token.scope.name().into(), when(token.created)]);
    }
    table.to_string()
}
