//! What both sides say: paths, the header of an update, errors as statuses.

use hyper::StatusCode;
use openledger_core::ErrorKind;

/// Where the run stands, as JSON.
pub(crate) const ROUND: &str = "/v1/round";
/// The matrices of that digest follow.
pub(crate) const MATRICES: &str = "/v1/matrices/";
/// Whether an update may be sent.
pub(crate) const CLAIMS: &str = "/v1/claims";
/// An update.
pub(crate) const UPDATES: &str = "/v1/updates";
/// The signed message, as JSON.
pub(crate) const SIGNED: &str = "openledger-update";
/// The most bytes of a signed message, of a round, of an error's text.
pub(crate) const SMALL: usize = 16 << 10;

/// Statuses and what they mean here, in the order in which a status is looked up.
const KINDS: [(StatusCode, ErrorKind); 8] = [
    (StatusCode::BAD_REQUEST, ErrorKind::Invalid),
    (StatusCode::NOT_FOUND, ErrorKind::NotFound),
    (StatusCode::CONFLICT, ErrorKind::Conflict),
    (StatusCode::UNPROCESSABLE_ENTITY, ErrorKind::Corrupt),
    (StatusCode::FORBIDDEN, ErrorKind::Denied),
    (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Limit),
    (StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unavailable),
    (StatusCode::NOT_IMPLEMENTED, ErrorKind::Unsupported),
];

pub(crate) fn status(kind: ErrorKind) -> StatusCode {
    let found = KINDS.iter().find(|(_, known)| *known == kind);
    found.map_or(StatusCode::INTERNAL_SERVER_ERROR, |(status, _)| *status)
}

/// A status that is none of ours comes from something in between: later it may be gone.
pub(crate) fn kind(status: StatusCode) -> ErrorKind {
    let found = KINDS.iter().find(|(known, _)| *known == status);
    found.map_or(ErrorKind::Unavailable, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_of_its_own() {
        for (code, found) in KINDS {
            assert_eq!((status(found), kind(code)), (code, found));
        }
        assert_eq!(kind(StatusCode::BAD_GATEWAY), ErrorKind::Unavailable);
    }
}
