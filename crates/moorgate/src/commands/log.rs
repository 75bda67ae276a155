//! `log`: flows as lines.

use jiff::civil::Date;
use moorgate_api::{
    client::Client,
    view::{FlowLine, FlowView},
};
use moorgate_contract::flow::Flow;

use super::CommandError;
use crate::{cli::Log, output};

/// How many flows are shown.
const LATEST: usize = 1_000;
/// How many before those that are followed.
const BEFORE_FOLLOWED: usize = 10;

pub(super) async fn run(client: &Client, args: Log) -> Result<(), CommandError> {
    let mut printer = Printer { json: args.json, colour: output::colour(), day: output::today() };
    let account = args.account.as_deref();
    if !args.follow {
        let mut text = String::new();
        let flows = client.flows(account, LATEST).await?;
        if flows.is_empty() {
            output::note("no flows yet");
        }
        for flow in flows {
            text.push_str(&printer.lines(flow)?);
        }
        return output::print(&text);
    }
    let mut flows = client.follow(account, BEFORE_FOLLOWED).await?;
    loop {
        match flows.next().await? {
            Some(FlowLine::Flow(flow)) => output::print(&printer.lines(*flow)?)?,
            Some(FlowLine::Missed { missed }) => {
                eprintln!("moorgate: {missed} flows were left out: this reader is too slow; moorgate log has them");
            }
            None => return Err(CommandError::StreamEnded),
        }
    }
}

struct Printer {
    json: bool,
    colour: bool,
    day: Date,
}

impl Printer {
    /// The flow's line; before it the date, when it is not that of the line above (or today, above the first).
    fn lines(&mut self, flow: FlowView) -> Result<String, CommandError> {
        if self.json {
            return Ok(output::flow_json(&Flow::from(flow)) + "\n");
        }
        let day = output::day(flow.started);
        let line = output::flow_line(&Flow::from(flow), self.colour);
        if std::mem::replace(&mut self.day, day) == day {
            return Ok(line + "\n");
        }
        Ok(format!("{day}\n{line}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_said_when_it_changes() {
        let flow = crate::output::flow::sample();
        let mut printer = Printer { json: false, colour: false, day: Date::constant(2023, 1, 1) };
        let mut first = printer.lines(FlowView::from(&flow)).unwrap();
        first.truncate(5);
        assert_eq!(first, "2023-");
        assert!(!printer.lines(FlowView::from(&flow)).unwrap().starts_with("2023-"));
    }
}
