// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// Leaves at least `EXTENSION` to vote after quorum is reached, so that nobody decides a quiet
/// proposal with one large vote in the last minute.
///
/// Gives the deadlines of OpenZeppelin's GovernorPreventLateQuorum at less cost. Quorum reached at
/// `t` moves a deadline only if `t + EXTENSION` is after it, so before the last `EXTENSION` seconds
/// neither the quorum nor the extended deadline is looked at. In those seconds the vote that takes
/// the count over the quorum extends; for and abstaining votes only grow and the quorum of a
/// snapshot is fixed, hence there is one such vote at most, and none if quorum was there before.
///
/// Deviations: the extension is fixed at deployment, ProposalExtended comes before VoteCast in the
/// logs, and where the quorum is zero votes nothing is extended, for there it is reached at once.
abstract contract LateQuorum is GovernorCountingSimple {
    uint48 public immutable EXTENSION;

    mapping(uint256 proposal => uint48 deadline) private _extended;

    event ProposalExtended(uint256 indexed proposalId, uint64 extendedDeadline);

    error ExtensionTooLong(uint48 extension, uint256 votingPeriod);

    /// Constructors that set the voting period must run before this one.
    constructor(uint48 extension) {
        if (extension > votingPeriod()) revert ExtensionTooLong(extension, votingPeriod());
        EXTENSION = extension;
    }

    function proposalDeadline(uint256 proposalId) public view virtual override returns (uint256) {
        uint256 deadline = super.proposalDeadline(proposalId);
        return _isLate(deadline) ? Math.max(deadline, _extended[proposalId]) : deadline;
    }

    function _countVote(uint256 proposalId, address account, uint8 support, uint256 totalWeight, bytes memory params)
        internal
        virtual
        override
        returns (uint256 weight)
    {
        bool open = _isLate(super.proposalDeadline(proposalId)) && !_quorumReached(proposalId);
        weight = super._countVote(proposalId, account, support, totalWeight, params);
        if (open && _quorumReached(proposalId)) {
            uint48 extended = clock() + EXTENSION;
            _extended[proposalId] = extended;
            emit ProposalExtended(proposalId, extended);
        }
    }

    /// Whether quorum reached now would move the deadline. Two times of 48 bits do not overflow.
    function _isLate(uint256 deadline) private view returns (bool) {
        unchecked {
            return uint256(clock()) + EXTENSION > deadline;
        }
    }
}
