// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorProposalGuardian} from "@openzeppelin/contracts/governance/extensions/GovernorProposalGuardian.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {GovernorVotesQuorumFraction} from
    "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {LateQuorum} from "./LateQuorum.sol";
import {Preset} from "./Preset.sol";

/// Votes on chain: proposals by holders, For, Against and Abstain by their votes at a snapshot,
/// execution through the timelock.
///
/// The guardian can cancel a proposal until it is executed, and nothing else. A ballot can be signed
/// and relayed one by one (`castVoteBySig`), or gathered off chain (see BallotBox). Settings change
/// by a proposal of this governor only: even the timelock cannot without one.
contract OpenGovernor is
    GovernorSettings,
    GovernorVotesQuorumFraction,
    LateQuorum,
    GovernorProposalGuardian,
    GovernorTimelockControl
{
    uint256 private constant BPS = 10_000;
    string private constant TIMESTAMPS = "mode=timestamp";

    error ClockUnlike(string mode);

    constructor(IERC5805 votes, TimelockController timelock, address guardian, Preset memory preset)
        Governor("OpenLedger")
        GovernorSettings(preset.votingDelay, preset.votingPeriod, preset.proposalThreshold)
        GovernorVotes(votes)
        GovernorVotesQuorumFraction(preset.quorumBps)
        LateQuorum(preset.extension)
        GovernorTimelockControl(timelock)
    {
        string memory mode = votes.CLOCK_MODE();
        if (keccak256(bytes(mode)) != keccak256(bytes(TIMESTAMPS))) revert ClockUnlike(mode);
        _setProposalGuardian(guardian);
    }

    /// Seconds, as the token's: not asking the token each time makes every vote cheaper.
    function clock() public view override(Governor, GovernorVotes) returns (uint48) {
        return uint48(block.timestamp);
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override(Governor, GovernorVotes) returns (string memory) {
        return TIMESTAMPS;
    }

    /// The quorum is a fraction in basis points.
    function quorumDenominator() public pure override returns (uint256) {
        return BPS;
    }

    function proposalDeadline(uint256 proposalId) public view override(Governor, LateQuorum) returns (uint256) {
        return super.proposalDeadline(proposalId);
    }

    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    function state(uint256 proposalId) public view override(Governor, GovernorTimelockControl) returns (ProposalState) {
        return super.state(proposalId);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _countVote(uint256 proposalId, address account, uint8 support, uint256 totalWeight, bytes memory params)
        internal
        override(Governor, LateQuorum)
        returns (uint256)
    {
        return super._countVote(proposalId, account, support, totalWeight, params);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _validateCancel(uint256 proposalId, address caller)
        internal
        view
        override(Governor, GovernorProposalGuardian)
        returns (bool)
    {
        return super._validateCancel(proposalId, caller);
    }

    /// A ballot signed by the voter's key counts whatever code the voter has; else its code decides
    /// (ERC-1271). In this order most voters' accounts are never loaded.
    function _validateVoteSig(uint256 proposalId, uint8 support, address voter, bytes memory signature)
        internal
        override
        returns (bool)
    {
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(BALLOT_TYPEHASH, proposalId, support, voter, _useNonce(voter)))
        );
        // slither-disable-next-line unused-return -- the third is a detail of the fault
        (address signer, ECDSA.RecoverError fault,) = ECDSA.tryRecover(digest, signature);
        return (fault == ECDSA.RecoverError.NoError && signer == voter)
            || SignatureChecker.isValidERC1271SignatureNow(voter, digest, signature);
    }
}
