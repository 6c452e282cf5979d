//! Rows of a Datanet version, for whom its owner lets train on them.

use openledger_core::{
    Address, DatanetVersion, Error, ErrorKind, Result, Row,
    message::{Grant, Scope, Verified},
};

use super::Example;

/// Takes the rows of a Datanet version to train on, if `grant` allows it.
///
/// `owner` is the Datanet's owner as its registry says, `who` trains, and `now` is the time in
/// seconds since 1970. That the rows are those of `version` is for the reader of the Datanet to
/// have checked against `version.root`.
///
/// # Errors
/// [`ErrorKind::Denied`] if the grant is another owner's, for another Datanet or version, somebody
/// else or something else than training, or not valid at `now`.
pub fn granted<I>(
    rows: I,
    version: &DatanetVersion,
    grant: &Verified<Grant>,
    [owner, who]: [Address; 2],
    now: u64,
) -> Result<impl Iterator<Item = Example> + use<I>>
where
    I: IntoIterator<Item = Row>,
{
    let grant = grant.message();
    let refused = match grant {
        _ if grant.owner != owner => {
            Some(format!("signed by {}, the Datanet is {owner}'s", grant.owner))
        }
        _ if grant.datanet != version.datanet => {
            Some(format!("for Datanet {}, the rows are of {}", grant.datanet, version.datanet))
        }
        _ if grant.version != 0 && grant.version != version.version => {
            Some(format!("for version {}, the rows are of {}", grant.version, version.version))
        }
        _ if grant.scope != Scope::Train => {
            Some(format!("for {:?}, to learn from rows needs {:?}", grant.scope, Scope::Train))
        }
        _ if grant.grantee != who => Some(format!("given to {}, not to {who}", grant.grantee)),
        _ if now < grant.not_before => {
            Some(format!("valid from {}, it is {now}", grant.not_before))
        }
        _ if now > grant.not_after => Some(format!("valid until {}, it is {now}", grant.not_after)),
        _ => None,
    };
    match refused {
        Some(why) => {
            let message = format!("the grant does not allow training: it is {why}");
            Err(Error::new(ErrorKind::Denied, message))
        }
        None => Ok(rows.into_iter().map(Example::from)),
    }
}
