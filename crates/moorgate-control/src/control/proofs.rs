//! What people prove who they are with beside a password, set up and used.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moorgate_contract::{account::SecretHash, time::Timestamp};
use moorgate_keys::{open, seal};

use super::{Control, Inner, Session, now, people::address};
use crate::{
    book::PersonRow,
    error::{ControlError, Invalid, Result, What, short},
    limits::{MAX_PASSKEYS, MAX_PEOPLE, RECOVERY_CODES},
    people_views::{AppSetup, Joining, NewSignIn, PasskeyQuestion},
    proofs::{
        Identity, PasskeyRow, Proofs, TotpRow,
        passkey::{self, Algorithm, MadePasskey, PasskeyProblem, RelyingParty, ShownPasskey},
        step::{self, Step},
        totp,
    },
    secret::{Password, Token, random_token_id},
};

/// What an app's secret is sealed for.
const APP: &str = "authenticator app";
/// Stand where a proxy password's hash has its username, so that none can be used as another.
const RECOVERY: &str = "console recovery code";
const PASSWORD: &str = "console password of a step";
/// 256 bits (Web Authentication §13.4.3 asks for 128).
const CHALLENGE_BYTES: usize = 32;
/// The most characters of a passkey's name.
const NAME_CHARS: usize = 40;

impl Control {
    /// What goes with a code that is wanted of somebody whose password was right.
    pub(super) fn wants_code(&self, person: &PersonRow) -> Result<String> {
        let password = self.inner.digest_of(&person.password);
        let next = Step::Code { person: person.id.clone(), password };
        self.inner.seal_step(next)
    }

    /// Whose step this is: their address. `None`: it is nobody's, or was begun too long ago.
    pub fn who_steps(&self, step: &str) -> Option<String> {
        let (step, _) = self.inner.open_step(step)?;
        let (Step::Code { person, .. } | Step::App { person, .. } | Step::Make { person, .. }) = step else {
            return None;
        };
        Some(self.inner.book().people().person(&person)?.email.clone())
    }

    /// Signs somebody in whose password was right, by a code of their app or one of those for when it is lost. `None`: it is
    /// neither, or was used before.
    ///
    /// # Errors
    /// [`Invalid::StepGone`], [`ControlError::StoreDown`].
    pub async fn sign_in_by_code(&self, step: &str, code: &str, agent: &str) -> Result<Option<NewSignIn>> {
        let Some((Step::Code { person, password }, _)) = self.inner.open_step(step) else {
            return Err(Invalid::StepGone.into());
        };
        let email = self.inner.person_row(&person).map_err(|_| Invalid::StepGone)?.email;
        let (code, agent) = (code.trim().to_owned(), agent.to_owned());
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let old = inner.person_row(&person).map_err(|_| Invalid::StepGone)?;
            if inner.digest_of(&old.password) != password {
                return Err(Invalid::StepGone.into());
            }
            let Some(proofs) = inner.with_code(&old.proofs, &code, now()) else { return Ok(None) };
            let row = PersonRow { proofs, ..old.clone() };
            session.put_person("take code of", Some(&old), row.clone()).await?;
            let made = session.sign_in(&row, &agent).await?;
            session.commit().await?;
            Ok(Some(made))
        };
        self.as_person(&email).write(operation).await
    }

    /// What an authenticator app of this person's is set up with. Nothing is kept before the app has shown a code.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub fn begin_app(&self, person: &str) -> Result<AppSetup> {
        let row = self.inner.person_row(person)?;
        let secret = totp::random_secret()?;
        let (link, text) = totp::link(&secret, &row.email).ok_or(ControlError::Random)?;
        let step = self.inner.seal_step(Step::App { person: row.id, secret: secret.to_vec() })?;
        Ok(AppSetup { link, secret: text, step })
    }

    /// From now on a code of that app is wanted with the password. Says the codes for when the app is lost, each good once;
    /// `None`: the code is none of the app's.
    ///
    /// # Errors
    /// [`Invalid::StepGone`], [`ControlError::StoreDown`].
    pub async fn set_app(&self, person: &str, sign_in: &str, step: &str, code: &str) -> Result<Option<Vec<String>>> {
        let secret = match self.inner.open_step(step) {
            Some((Step::App { person: of, secret }, _)) if of == person => secret,
            _ => return Err(Invalid::StepGone.into()),
        };
        let at = now();
        let Some(used) = totp::step_of(&secret, code, at) else { return Ok(None) };
        let sealed = seal(self.inner.store_key.key(), APP, &secret).map_err(|_| Invalid::Unsealable)?;
        let (codes, recovery) = self.inner.recovery_codes()?;
        let (person, kept) = (person.to_owned(), sign_in.to_owned());
        let operation = async move |mut session: Session| {
            let old = session.inner.person_row(&person)?;
            let totp = Some(TotpRow { secret: sealed, used, since: at });
            let proofs = Proofs { totp, recovery, ..old.proofs.clone() };
            session.put_person("set app of", Some(&old), PersonRow { proofs, ..old.clone() }).await?;
            // Whoever came in before without a code has to show one.
            session.end_others(&old, Some(&kept)).await?;
            session.commit().await?;
            Ok(Some(codes))
        };
        self.write(operation).await
    }

    /// No code is wanted any more. `false`: the password is not theirs.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_app(&self, person: &str, password: &Password) -> Result<bool> {
        if !self.confirms(person, password).await? {
            return Ok(false);
        }
        let without = |proofs: &Proofs| Proofs { totp: None, recovery: Vec::new(), ..proofs.clone() };
        self.change_proofs(person, "remove app of", move |proofs| Ok(without(proofs))).await?;
        Ok(true)
    }

    /// Whether this is the person's password; who has none has nothing to confirm.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn confirms(&self, person: &str, password: &Password) -> Result<bool> {
        let row = self.inner.person_row(person)?;
        Ok(row.password.is_empty() || self.is_password(row.password, password).await)
    }

    /// What an authenticator is asked for a passkey of this person's.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`Invalid::TooManyPasskeys`].
    pub fn begin_passkey(&self, person: &str) -> Result<PasskeyQuestion> {
        let row = self.inner.person_row(person)?;
        if row.proofs.passkeys.len() >= MAX_PASSKEYS {
            return Err(Invalid::TooManyPasskeys.into());
        }
        let challenge = random_challenge()?;
        let known = row.proofs.passkeys.iter().map(|passkey| passkey.id.clone()).collect();
        self.inner.question(challenge.clone(), known, Step::Make { person: row.id, challenge })
    }

    /// Adds a passkey.
    ///
    /// # Errors
    /// [`Invalid::StepGone`], [`Invalid::Passkey`], [`ControlError::StoreDown`].
    pub async fn add_passkey(
        &self,
        person: &str,
        party: &RelyingParty,
        step: &str,
        name: &str,
        answer: &MadePasskey,
    ) -> Result<()> {
        let challenge = match self.inner.open_step(step) {
            Some((Step::Make { person: of, challenge }, _)) if of == person => challenge,
            _ => return Err(Invalid::StepGone.into()),
        };
        let (key, counter) = passkey::made(party, &challenge, answer).map_err(Invalid::Passkey)?;
        let id = URL_SAFE_NO_PAD.encode(&answer.id);
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
        let name = if name.is_empty() { "passkey".to_owned() } else { name };
        let row = PasskeyRow { id, name, key, counter, created: now(), used: None };
        let inner = self.inner.clone();
        let with = move |proofs: &Proofs| {
            if inner.book().people().by_passkey(&row.id).is_some() {
                return Err(Invalid::PasskeyKnown.into());
            }
            let mut proofs = proofs.clone();
            proofs.passkeys.push(row);
            Ok(proofs)
        };
        self.change_proofs(person, "add passkey of", with).await
    }

    /// Removes a passkey; it is nothing if there is none of this name.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn remove_passkey(&self, person: &str, id: &str) -> Result<()> {
        let id = id.to_owned();
        let without = move |proofs: &Proofs| {
            let mut proofs = proofs.clone();
            proofs.passkeys.retain(|passkey| passkey.id != id);
            Ok(proofs)
        };
        self.change_proofs(person, "remove passkey of", without).await
    }

    /// What an authenticator is asked of whoever wants to come in.
    ///
    /// # Errors
    /// [`ControlError::Random`].
    pub fn ask_passkey(&self) -> Result<PasskeyQuestion> {
        let challenge = random_challenge()?;
        self.inner.question(challenge.clone(), Vec::new(), Step::Show { challenge })
    }

    /// Signs somebody in by a passkey. `None`: it is nobody's here.
    ///
    /// # Errors
    /// [`Invalid::StepGone`], [`Invalid::Passkey`], [`ControlError::StoreDown`].
    pub async fn sign_in_by_passkey(
        &self,
        party: &RelyingParty,
        step: &str,
        answer: &ShownPasskey,
        agent: &str,
    ) -> Result<Option<NewSignIn>> {
        let Some((Step::Show { challenge }, since)) = self.inner.open_step(step) else {
            return Err(Invalid::StepGone.into());
        };
        let id = URL_SAFE_NO_PAD.encode(&answer.id);
        let known = self.inner.book().people().by_passkey(&id).map(|row| row.email.clone());
        let Some(email) = known else { return Ok(None) };
        let (party, answer, agent) = (party.clone(), answer.clone(), agent.to_owned());
        let operation = async move |mut session: Session| {
            let known = session.inner.book().people().by_passkey(&id).cloned();
            let Some(old) = known else { return Ok(None) };
            let mut row = old.clone();
            let Some(own) = row.proofs.passkeys.iter_mut().find(|own| own.id == id) else { return Ok(None) };
            // An answer is good once: what was asked before the last use was answered by that, or by nobody.
            if own.used.is_some_and(|used| used >= since) {
                return Err(Invalid::Passkey(PasskeyProblem::Challenge).into());
            }
            let counter = passkey::shown(&party, &challenge, &own.key, own.counter, &answer);
            own.counter = counter.map_err(Invalid::Passkey)?;
            own.used = Some(now());
            session.put_person("take passkey of", Some(&old), row.clone()).await?;
            let made = session.sign_in(&row, &agent).await?;
            session.commit().await?;
            Ok(Some(made))
        };
        self.as_person(&email).write(operation).await
    }

    /// Signs somebody in whom an identity provider has named, by a confirmed address. Who is known by that address is them
    /// from now on; who is not becomes what `joining` says. `None`: they are nobody here.
    ///
    /// # Errors
    /// [`Invalid::Email`], [`Invalid::IdentityOfAnother`], [`ControlError::NotFound`], [`ControlError::StoreDown`].
    pub async fn sign_in_by_identity(
        &self,
        identity: &Identity,
        email: &str,
        joining: Option<&Joining>,
        agent: &str,
    ) -> Result<Option<NewSignIn>> {
        let email = address(email)?;
        let (identity, joining, agent) = (identity.clone(), joining.cloned(), agent.to_owned());
        let email_of_call = email.clone();
        let operation = async move |mut session: Session| {
            let inner = session.inner.clone();
            let (by_identity, by_email) = {
                let book = inner.book();
                (book.people().by_identity(&identity).cloned(), book.people().by_email(&email).cloned())
            };
            let row = match (by_identity, by_email) {
                (Some(known), _) => known,
                (None, Some(old)) => session.bind_identity(old, identity).await?,
                (None, None) => match joining {
                    Some(joining) => session.add_named(email, identity, &joining).await?,
                    None => return Ok(None),
                },
            };
            let made = session.sign_in(&row, &agent).await?;
            session.commit().await?;
            Ok(Some(made))
        };
        self.as_person(&email_of_call).write(operation).await
    }

    async fn change_proofs(
        &self,
        person: &str,
        action: &'static str,
        change: impl FnOnce(&Proofs) -> Result<Proofs> + Send + 'static,
    ) -> Result<()> {
        let person = person.to_owned();
        let operation = async move |mut session: Session| {
            let old = session.inner.person_row(&person)?;
            let proofs = change(&old.proofs)?;
            if proofs != old.proofs {
                session.put_person(action, Some(&old), PersonRow { proofs, ..old.clone() }).await?;
            }
            session.commit().await
        };
        self.write(operation).await
    }
}

impl Session {
    /// Somebody who is known by their address is this to an identity provider.
    async fn bind_identity(&mut self, old: PersonRow, identity: Identity) -> Result<PersonRow> {
        // Two people of one provider must not become one here.
        if old.proofs.identity.as_ref().is_some_and(|own| own.issuer == identity.issuer) {
            return Err(Invalid::IdentityOfAnother { email: old.email }.into());
        }
        let proofs = Proofs { identity: Some(identity), ..old.proofs.clone() };
        let row = PersonRow { proofs, ..old.clone() };
        self.put_person("name", Some(&old), row.clone()).await?;
        Ok(row)
    }

    async fn add_named(&mut self, email: String, identity: Identity, joining: &Joining) -> Result<PersonRow> {
        let inner = self.inner.clone();
        if inner.book().people().all().len() >= MAX_PEOPLE {
            return Err(Invalid::TooMany { what: What::Person, limit: MAX_PEOPLE }.into());
        }
        let roles = [(inner.account_id(&joining.account)?, joining.role)].into();
        let proofs = Proofs { identity: Some(identity), ..Proofs::default() };
        let (id, password) = (random_token_id()?, String::new());
        let row = PersonRow { id, email, password, operator: false, created: now(), roles, proofs };
        self.put_person("add", None, row.clone()).await?;
        Ok(row)
    }
}

impl Inner {
    fn seal_step(&self, next: Step) -> Result<String> {
        step::sealed(self.store_key.key(), next, now())
    }

    fn open_step(&self, text: &str) -> Option<(Step, Timestamp)> {
        step::opened(self.store_key.key(), text, now())
    }

    fn question(&self, challenge: Vec<u8>, known: Vec<String>, next: Step) -> Result<PasskeyQuestion> {
        let algorithms = Algorithm::ALL.map(|(_, cose)| cose).into();
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        Ok(PasskeyQuestion { challenge, algorithms, known, step: self.seal_step(next)? })
    }

    /// What is left of somebody's proofs once this code was taken; `None`: it is none of theirs.
    fn with_code(&self, proofs: &Proofs, code: &str, at: Timestamp) -> Option<Proofs> {
        let mut left = proofs.clone();
        let app = left.totp.as_mut()?;
        let secret = open(self.store_key.key(), APP, &app.secret).ok();
        if let Some(step) = secret.and_then(|secret| totp::step_of(&secret, code, at)) {
            // Each is taken once (RFC 6238 §5.2).
            let fresh = step > app.used;
            app.used = step;
            return fresh.then_some(left);
        }
        let hash = self.recovery_hash(code);
        let place = left.recovery.iter().position(|own| *own == hash)?;
        left.recovery.remove(place);
        Some(left)
    }

    fn recovery_codes(&self) -> Result<(Vec<String>, Vec<SecretHash>)> {
        let codes = (0..RECOVERY_CODES).map(|_| Token::of_recovery()).collect::<Result<Vec<_>, _>>()?;
        let hashes = codes.iter().map(|code| self.recovery_hash(code.reveal())).collect();
        Ok((codes.iter().map(|code| code.reveal().to_owned()).collect(), hashes))
    }

    /// Spaces, hyphens and capitals make no other code.
    fn recovery_hash(&self, code: &str) -> SecretHash {
        let code: String = short(code).chars().filter(char::is_ascii_alphanumeric).collect();
        self.token_pepper.hash(RECOVERY, code.to_ascii_lowercase().as_bytes())
    }

    fn digest_of(&self, password: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.token_pepper.hash(PASSWORD, password.as_bytes()).0)
    }
}

fn random_challenge() -> Result<Vec<u8>> {
    let mut challenge = vec![0; CHALLENGE_BYTES];
    getrandom::fill(&mut challenge).map_err(|_| ControlError::Random)?;
    Ok(challenge)
}
