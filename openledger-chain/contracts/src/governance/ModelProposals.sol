// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IModels} from "./IModels.sol";
import {ModelTerms} from "./ModelTerms.sol";

/// Proposals to build a model, each with a stake that says its proposer means it.
///
///   Pending ─ approve ─▶ Approved ─ deploy ─▶ Deployed: all back
///      │                     └─── too late ─▶ Lapsed: a share to the treasury, the rest back
///      ├─ reject ─▶ Rejected: a share to the treasury, the rest back
///      └─ undecided in time ─▶ Lapsed: all back
///
/// Governance decides and touches no stake otherwise; there is no other way out for the money.
contract ModelProposals is AccessManaged {
    using SafeERC20 for IERC20;

    enum Status {
        None,
        Pending,
        Approved,
        Rejected,
        Deployed,
        Lapsed
    }

    struct Proposal {
        address proposer;
        uint40 proposedAt;
        /// The last moment for a decision while pending, for a model once approved.
        uint40 dueAt;
        Status status;
        uint128 stake;
        uint40 deploymentPeriod;
        uint16 forfeitBps;
        bytes32 model;
    }

    uint256 private constant BPS = 10_000;
    uint40 private constant MAX_PERIOD = 4 * 366 days;

    IERC20 public immutable TOKEN;
    IModels public immutable MODELS;
    address public immutable TREASURY;

    ModelTerms public terms;
    mapping(bytes32 id => Proposal) private _proposals;
    /// The proposal that a model answered: one model answers one.
    mapping(address proposer => mapping(bytes32 model => bytes32 id)) public answers;

    event TermsChanged(ModelTerms terms);
    event ModelProposed(
        bytes32 indexed id, address indexed proposer, bytes32 metadata, bytes32 da, uint128 stake, uint40 dueAt
    );
    event ModelApproved(bytes32 indexed id, uint40 dueAt);
    event ModelRejected(bytes32 indexed id);
    event ModelDeployed(bytes32 indexed id, bytes32 indexed model);
    event ProposalLapsed(bytes32 indexed id);
    event StakeReturned(bytes32 indexed id, address indexed proposer, uint256 amount, uint256 forfeited);

    error TermsUnsound(ModelTerms terms);
    error MetadataEmpty();
    error StakeTooLow(uint128 stake, uint128 minStake);
    error ProposalExists(bytes32 id);
    error ProposalNotIn(bytes32 id, Status status, Status expected);
    error ProposalOverdue(bytes32 id, uint40 dueAt);
    error ProposalNotOverdue(bytes32 id, uint40 dueAt);
    error NotProposer(bytes32 id, address caller);
    error ModelUnknown(address proposer, bytes32 model);
    error ModelOlder(bytes32 model, uint40 registeredAt, uint40 proposedAt);
    error ModelTaken(bytes32 model, bytes32 id);

    constructor(address authority, IERC20 token, IModels models, address treasury, ModelTerms memory terms_)
        AccessManaged(authority)
    {
        (TOKEN, MODELS, TREASURY) = (token, models, treasury);
        _setTerms(terms_);
    }

    /// Sets the terms of proposals made from now on.
    function setTerms(ModelTerms calldata terms_) external restricted {
        _setTerms(terms_);
    }

    /// Proposes a model under a stake. `metadata` is the hash of the plan, `da` where it is published.
    function propose(bytes32 metadata, bytes32 da, uint128 stake) external returns (bytes32 id) {
        if (metadata == bytes32(0)) revert MetadataEmpty();
        ModelTerms memory t = terms;
        if (stake < t.minStake) revert StakeTooLow(stake, t.minStake);
        id = proposalId(msg.sender, metadata);
        Proposal storage p = _proposals[id];
        if (p.status != Status.None) revert ProposalExists(id);
        (p.proposer, p.stake, p.status) = (msg.sender, stake, Status.Pending);
        (p.proposedAt, p.dueAt) = (uint40(block.timestamp), uint40(block.timestamp) + t.decisionPeriod);
        (p.deploymentPeriod, p.forfeitBps) = (t.deploymentPeriod, t.forfeitBps);
        TOKEN.safeTransferFrom(msg.sender, address(this), stake);
        emit ModelProposed(id, msg.sender, metadata, da, stake, p.dueAt);
    }

    function approve(bytes32 id) external restricted {
        Proposal storage p = _due(id, Status.Pending);
        p.status = Status.Approved;
        p.dueAt = uint40(block.timestamp) + p.deploymentPeriod;
        emit ModelApproved(id, p.dueAt);
    }

    function reject(bytes32 id) external restricted {
        Proposal storage p = _due(id, Status.Pending);
        p.status = Status.Rejected;
        emit ModelRejected(id);
        _pay(id, p, p.forfeitBps);
    }

    /// Names the model that came of the caller's approved proposal, registered since it was made.
    function deploy(bytes32 id, bytes32 model) external {
        Proposal storage p = _due(id, Status.Approved);
        if (p.proposer != msg.sender) revert NotProposer(id, msg.sender);
        uint40 registeredAt = MODELS.registeredAt(msg.sender, model);
        if (registeredAt == 0) revert ModelUnknown(msg.sender, model);
        if (registeredAt < p.proposedAt) revert ModelOlder(model, registeredAt, p.proposedAt);
        bytes32 taken = answers[msg.sender][model];
        if (taken != bytes32(0)) revert ModelTaken(model, taken);
        (p.status, p.model, answers[msg.sender][model]) = (Status.Deployed, model, id);
        emit ModelDeployed(id, model);
        _pay(id, p, 0);
    }

    /// Ends a proposal that was not decided in time, at no loss, or came to no model in time.
    function lapse(bytes32 id) external {
        Proposal storage p = _proposals[id];
        Status status = p.status;
        if (status != Status.Pending && status != Status.Approved) revert ProposalNotIn(id, status, Status.Pending);
        if (block.timestamp <= p.dueAt) revert ProposalNotOverdue(id, p.dueAt);
        p.status = Status.Lapsed;
        emit ProposalLapsed(id);
        _pay(id, p, status == Status.Approved ? p.forfeitBps : 0);
    }

    function proposal(bytes32 id) external view returns (Proposal memory) {
        return _proposals[id];
    }

    /// The name of a proposal: nobody can take another's.
    function proposalId(address proposer, bytes32 metadata) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), proposer, metadata));
    }

    function _due(bytes32 id, Status expected) private view returns (Proposal storage p) {
        p = _proposals[id];
        if (p.status != expected) revert ProposalNotIn(id, p.status, expected);
        if (block.timestamp > p.dueAt) revert ProposalOverdue(id, p.dueAt);
    }

    function _pay(bytes32 id, Proposal storage p, uint256 forfeitBps) private {
        uint256 forfeited = p.stake * forfeitBps / BPS;
        uint256 amount = p.stake - forfeited;
        if (amount > 0) TOKEN.safeTransfer(p.proposer, amount);
        if (forfeited > 0) TOKEN.safeTransfer(TREASURY, forfeited);
        emit StakeReturned(id, p.proposer, amount, forfeited);
    }

    function _setTerms(ModelTerms memory t) private {
        bool sound = t.forfeitBps <= BPS && t.decisionPeriod != 0 && t.deploymentPeriod != 0
            && t.decisionPeriod <= MAX_PERIOD && t.deploymentPeriod <= MAX_PERIOD;
        if (!sound) revert TermsUnsound(t);
        terms = t;
        emit TermsChanged(t);
    }
}
