// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {BallotRules} from "./BallotRules.sol";
import {ABSTAIN, AGAINST, FOR, Leaf, Totals, Witness} from "./Leaf.sol";

/// Votes off chain: ballots cost nothing to sign, and one bonded tally of them is taken for true
/// unless somebody shows what is wrong with it.
///
///   open ─▶ sign ballots ─▶ submit ─▶ nobody shows a fault ─▶ queue ─▶ timelock ─▶ execute
///                             ▲  │
///                             └──┴─ challenge, unanswered demand: the bond is lost, the next submits
///
/// A tally is a Merkle root of leaves (see Leaf), their number and their totals; the ballots
/// themselves are published, and the hash of what was published is in the event. Each fault is one
/// step to show: a ballot that is not its voter's or of another weight (`challengeBallot`), two
/// leaves out of order or whose totals do not follow (`challengeOrder`), totals that do not begin at
/// zero or end at the claim (`challengeEnds`). What cannot be shown because it was withheld is asked
/// for (`demand`) and answered or lost; each answer keeps the window open, so that a voter who was
/// left out finds the neighbours by bisection, at one small bond a step. So a tally that nothing befalls is the exact sum of its
/// ballots.
///
/// What it leaves out: while its window runs, a tally of strictly more weight replaces it, so often
/// at most as the rules say; and anybody can put an omitted ballot on top of it (`include`), checked
/// at once. The first keeps large omissions cheap to mend; without the second, whoever used up the
/// replacements with meagre tallies could shut voters out. A replaced tally can still be challenged
/// until its own window ends, so a wrong one does not escape by being replaced.
///
/// The deadline says when tallies begin; a ballot signed later counts if a tally has it. Of two
/// ballots of one voter either may count. Only keys sign ballots (ECDSA): a contract wallet could
/// change its mind about a signature after it was counted, and bring down an honest tally.
contract BallotBox is AccessManaged, EIP712 {
    using SafeERC20 for IERC20;

    enum Status {
        None,
        Open,
        Queued,
        Canceled
    }

    enum State {
        Unknown,
        Pending,
        Voting,
        Tallying,
        Defeated,
        Succeeded,
        Queued,
        Executed,
        Canceled
    }

    enum TallyStatus {
        None,
        Standing,
        Lost,
        Paid
    }

    enum DemandStatus {
        None,
        Open,
        Closed
    }

    struct Proposal {
        address proposer;
        uint40 snapshot;
        uint40 deadline;
        Status status;
        /// The tally that decides if nothing befalls it, zero for none.
        uint64 tally;
        /// The last moment for a tally while there is none.
        uint40 closesAt;
        uint8 replacements;
        /// In the timelock, once queued.
        bytes32 operation;
        BallotRules rules;
    }

    struct Tally {
        uint256 proposal;
        address submitter;
        /// The end of its window: of challenges, demands, replacements and inclusions. An answer moves
        /// it, so that what was withheld can be asked for leaf by leaf and then be mended.
        uint40 settlesAt;
        TallyStatus status;
        uint32 count;
        uint32 openDemands;
        bytes32 root;
        /// By the leaves.
        Totals claimed;
        /// On top of them.
        Totals included;
    }

    struct Claim {
        bytes32 root;
        /// Keccak-256 of the published leaves and signatures.
        bytes32 body;
        uint32 count;
        Totals totals;
    }

    struct Demand {
        address by;
        uint40 answerBy;
        DemandStatus status;
    }

    struct Ballot {
        address voter;
        uint8 support;
        bytes32 reason;
    }

    bytes32 public constant BALLOT_TYPEHASH =
        keccak256("Ballot(uint256 proposal,address voter,uint8 support,bytes32 reason)");
    uint256 private constant BPS = 10_000;
    /// No period reaches this power of two, some 388 days.
    uint40 private constant TOO_LONG = 1 << 25;

    TimelockController public immutable TIMELOCK;
    IERC5805 public immutable VOTES;
    /// What bonds are in.
    IERC20 public immutable TOKEN;
    /// Where half of a lost bond goes.
    address public immutable TREASURY;

    BallotRules private _rules;
    uint64 private _lastTally;
    mapping(uint256 id => Proposal) private _proposals;
    mapping(uint64 tally => Tally) private _tallies;
    mapping(uint64 tally => mapping(uint256 index => Demand)) public demands;
    /// Whose ballots were put on top of a tally.
    mapping(uint64 tally => mapping(address voter => bool)) public isIncluded;

    event RulesChanged(BallotRules rules);
    event ProposalOpened(
        uint256 indexed id,
        address indexed proposer,
        address[] targets,
        uint256[] values,
        bytes[] calldatas,
        bytes32 descriptionHash,
        uint40 snapshot,
        uint40 deadline
    );
    event TallySubmitted(
        uint256 indexed id, uint64 indexed tally, address indexed submitter, Claim claim, uint40 settlesAt
    );
    event TallyReplaced(uint256 indexed id, uint64 indexed tally, uint64 indexed by);
    event TallyLost(uint256 indexed id, uint64 indexed tally, address indexed challenger, uint256 reward);
    event BondReturned(uint64 indexed tally, address indexed submitter, uint256 amount);
    event BallotIncluded(
        uint64 indexed tally, address indexed voter, uint8 support, uint256 weight, bytes32 reason, bytes signature
    );
    event LeafDemanded(uint64 indexed tally, uint256 indexed index, address indexed by, uint40 answerBy);
    event LeafShown(uint64 indexed tally, uint256 indexed index, Leaf leaf, bytes signature, uint40 settlesAt);
    event DemandReturned(uint64 indexed tally, uint256 indexed index, address indexed by, uint256 amount);
    event ProposalQueued(uint256 indexed id, bytes32 indexed operation, Totals totals);
    event ProposalCanceled(uint256 indexed id, address indexed by);

    error ClockUnlike(string mode);
    error RulesUnsound(BallotRules rules);
    error ProposerVotesTooFew(address proposer, uint256 votes, uint256 threshold);
    error ProposalMalformed(uint256 targets, uint256 values, uint256 calldatas);
    error ProposalExists(uint256 id);
    error ProposalNotOpen(uint256 id, Status status);
    error ProposalExecuted(uint256 id);
    error ProposalDefeated(uint256 id, Totals totals, uint256 quorum);
    error VotingRuns(uint256 id, uint40 deadline);
    error ClaimEmpty(uint256 id);
    error WeightImpossible(uint256 id, uint256 weight, uint256 supply);
    error WeightTooLow(uint64 tally, uint256 weight, uint256 standing);
    error SubmissionsClosed(uint256 id, uint40 closedAt);
    error ReplacementsUsed(uint256 id, uint8 replacements);
    error WindowClosed(uint64 tally, uint40 endedAt);
    error TallyNotCurrent(uint64 tally, uint64 current);
    error TallyNotStanding(uint64 tally, TallyStatus status);
    error TallyNotLost(uint64 tally, TallyStatus status);
    error TallyFinal(uint64 tally, uint40 settledAt);
    error TallyNotFinal(uint64 tally, uint40 settlesAt, uint32 openDemands);
    error ProofInvalid(uint64 tally, uint256 index);
    error NoFault(uint64 tally, uint256 index);
    error IndexOutside(uint64 tally, uint256 index, uint32 count);
    error DemandExists(uint64 tally, uint256 index);
    error DemandNotOpen(uint64 tally, uint256 index);
    error AnswerDue(uint64 tally, uint256 index, uint40 answerBy);
    error AnswerLate(uint64 tally, uint256 index, uint40 answerBy);
    error BallotInvalid(uint256 id, address voter);
    error BallotNotOmitted(uint64 tally, address voter);

    constructor(
        address authority,
        TimelockController timelock,
        IERC5805 votes,
        IERC20 token,
        address treasury,
        BallotRules memory rules_
    ) AccessManaged(authority) EIP712("OpenLedger", "1") {
        string memory mode = votes.CLOCK_MODE();
        if (keccak256(bytes(mode)) != keccak256("mode=timestamp")) revert ClockUnlike(mode);
        (TIMELOCK, VOTES, TOKEN, TREASURY) = (timelock, votes, token, treasury);
        _setRules(rules_);
    }

    /// Sets the rules of proposals opened from now on.
    function setRules(BallotRules calldata rules_) external restricted {
        _setRules(rules_);
    }

    /// Opens a proposal of calls that the timelock would make. The caller had enough votes a second ago.
    function open(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        bytes32 descriptionHash
    ) external returns (uint256 id) {
        if (targets.length == 0 || targets.length != values.length || targets.length != calldatas.length) {
            revert ProposalMalformed(targets.length, values.length, calldatas.length);
        }
        BallotRules memory r = _rules;
        uint256 votes = VOTES.getPastVotes(msg.sender, block.timestamp - 1);
        if (votes < r.threshold) revert ProposerVotesTooFew(msg.sender, votes, r.threshold);
        id = proposalId(targets, values, calldatas, descriptionHash);
        Proposal storage p = _proposals[id];
        if (p.status != Status.None) revert ProposalExists(id);
        p.proposer = msg.sender;
        p.status = Status.Open;
        p.snapshot = uint40(block.timestamp) + r.votingDelay;
        p.deadline = p.snapshot + r.votingPeriod;
        p.closesAt = p.deadline + r.submissionWindow;
        p.rules = r;
        emit ProposalOpened(
            id, msg.sender, targets, values, calldatas, descriptionHash, p.snapshot, p.deadline
        );
    }

    /// Submits a tally under a bond: the first after the deadline or after a loss, or one of more
    /// weight than that which stands, in its window.
    function submit(uint256 id, Claim calldata claim) external returns (uint64 tally) {
        Proposal storage p = _open(id);
        if (block.timestamp <= p.deadline) revert VotingRuns(id, p.deadline);
        if (claim.root == bytes32(0) || claim.count == 0) revert ClaimEmpty(id);
        uint256 weight = claim.totals.sum();
        uint256 supply = VOTES.getPastTotalSupply(p.snapshot);
        if (weight > supply) revert WeightImpossible(id, weight, supply);
        tally = ++_lastTally;
        _displace(id, p, tally, weight);
        p.tally = tally;
        Tally storage t = _tallies[tally];
        t.proposal = id;
        t.submitter = msg.sender;
        t.status = TallyStatus.Standing;
        t.settlesAt = uint40(block.timestamp) + p.rules.challengeWindow;
        (t.count, t.root, t.claimed) = (claim.count, claim.root, claim.totals);
        TOKEN.safeTransferFrom(msg.sender, address(this), p.rules.bond);
        emit TallySubmitted(id, tally, msg.sender, claim, t.settlesAt);
    }

    /// Shows a ballot that does not count: support unknown, weight none or not the voter's, or
    /// `signature` the one counted and not the voter's.
    function challengeBallot(uint64 tally, Witness calldata w, bytes calldata signature) external {
        Tally storage t = _challengeable(tally);
        _prove(tally, t, w);
        if (
            _isCountable(t.proposal, w.leaf)
                && (keccak256(signature) != w.leaf.signatureHash || _isSigned(t.proposal, w.leaf, signature))
        ) revert NoFault(tally, w.leaf.index);
        _lose(tally, t, msg.sender);
    }

    /// Shows two leaves of one index, or two neighbours whose voters do not rise or whose totals do
    /// not follow.
    function challengeOrder(uint64 tally, Witness calldata a, Witness calldata b) external {
        Tally storage t = _challengeable(tally);
        _prove(tally, t, a);
        _prove(tally, t, b);
        bool fault = a.leaf.index == b.leaf.index
            ? a.leaf.hashOf() != b.leaf.hashOf()
            : a.leaf.precedes(b.leaf) && !b.leaf.follows(a.leaf);
        if (!fault) revert NoFault(tally, b.leaf.index);
        _lose(tally, t, msg.sender);
    }

    /// Shows a first leaf whose totals are not its own, a last one whose totals are not the claim,
    /// or one past the last.
    function challengeEnds(uint64 tally, Witness calldata w) external {
        Tally storage t = _challengeable(tally);
        _prove(tally, t, w);
        uint256 index = w.leaf.index;
        bool fault = index >= t.count || (index == 0 && !w.leaf.continues(Totals(0, 0, 0)))
            || (index == t.count - 1 && !w.leaf.totalsOf().equal(t.claimed));
        if (!fault) revert NoFault(tally, index);
        _lose(tally, t, msg.sender);
    }

    /// Asks for a leaf and its signature to be shown, under a small bond, once for each index.
    function demand(uint64 tally, uint256 index) external {
        Tally storage t = _inWindow(tally);
        if (index >= t.count) revert IndexOutside(tally, index, t.count);
        Demand storage d = demands[tally][index];
        if (d.status != DemandStatus.None) revert DemandExists(tally, index);
        BallotRules storage r = _proposals[t.proposal].rules;
        d.by = msg.sender;
        d.answerBy = uint40(block.timestamp) + r.answerWindow;
        d.status = DemandStatus.Open;
        ++t.openDemands;
        TOKEN.safeTransferFrom(msg.sender, address(this), r.demandBond);
        emit LeafDemanded(tally, index, msg.sender, d.answerBy);
    }

    /// Shows a leaf that was asked for, with a ballot that counts; the bond of the demand is lost, half
    /// to the submitter. Whoever has the leaf can answer. The window stays open for a while after it.
    function answer(uint64 tally, Witness calldata w, bytes calldata signature) external {
        Tally storage t = _standing(tally);
        uint256 index = w.leaf.index;
        Demand storage d = _openDemand(tally, index);
        if (block.timestamp > d.answerBy) revert AnswerLate(tally, index, d.answerBy);
        _prove(tally, t, w);
        if (
            keccak256(signature) != w.leaf.signatureHash || !_isCountable(t.proposal, w.leaf)
                || !_isSigned(t.proposal, w.leaf, signature)
        ) revert BallotInvalid(t.proposal, w.leaf.voter);
        d.status = DemandStatus.Closed;
        --t.openDemands;
        BallotRules storage r = _proposals[t.proposal].rules;
        uint40 settlesAt = uint40(block.timestamp) + r.answerWindow;
        if (settlesAt > t.settlesAt) t.settlesAt = settlesAt;
        _split(r.demandBond, t.submitter);
        emit LeafShown(tally, index, w.leaf, signature, t.settlesAt);
    }

    /// Brings down a tally that did not answer in time, for the one who asked.
    function foreclose(uint64 tally, uint256 index) external {
        Tally storage t = _standing(tally);
        Demand storage d = _openDemand(tally, index);
        if (block.timestamp <= d.answerBy) revert AnswerDue(tally, index, d.answerBy);
        _returnDemand(tally, index, t, d);
        _lose(tally, t, d.by);
    }

    /// Gives back the bond of a demand to a tally that was lost before it answered.
    function reclaim(uint64 tally, uint256 index) external {
        Tally storage t = _tallies[tally];
        if (t.status != TallyStatus.Lost) revert TallyNotLost(tally, t.status);
        _returnDemand(tally, index, t, _openDemand(tally, index));
    }

    /// Puts on top of the standing tally a ballot that it left out: `neighbours` are the leaves
    /// between which the voter would stand, or the one end beyond which.
    function include(uint64 tally, Ballot calldata ballot, bytes calldata signature, Witness[] calldata neighbours)
        external
    {
        Tally storage t = _inWindow(tally);
        uint256 id = t.proposal;
        Proposal storage p = _open(id);
        if (p.tally != tally) revert TallyNotCurrent(tally, p.tally);
        for (uint256 i = 0; i < neighbours.length; ++i) _prove(tally, t, neighbours[i]);
        if (isIncluded[tally][ballot.voter] || !_isOmitted(t.count, ballot.voter, neighbours)) {
            revert BallotNotOmitted(tally, ballot.voter);
        }
        if (ballot.support > ABSTAIN || !_isSignedBy(id, ballot, signature)) revert BallotInvalid(id, ballot.voter);
        isIncluded[tally][ballot.voter] = true;
        uint256 weight = VOTES.getPastVotes(ballot.voter, p.snapshot);
        if (ballot.support == FOR) t.included.forVotes += weight;
        else if (ballot.support == AGAINST) t.included.againstVotes += weight;
        else t.included.abstainVotes += weight;
        emit BallotIncluded(tally, ballot.voter, ballot.support, weight, ballot.reason, signature);
    }

    /// Gives the bond of a tally back once nothing can befall it any more.
    function withdrawBond(uint64 tally) external {
        Tally storage t = _standing(tally);
        if (!_isFinal(t)) revert TallyNotFinal(tally, t.settlesAt, t.openDemands);
        t.status = TallyStatus.Paid;
        uint256 bond = _proposals[t.proposal].rules.bond;
        TOKEN.safeTransfer(t.submitter, bond);
        emit BondReturned(tally, t.submitter, bond);
    }

    /// Schedules an accepted proposal in the timelock.
    function queue(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        bytes32 descriptionHash
    ) external returns (uint256 id) {
        id = proposalId(targets, values, calldatas, descriptionHash);
        Proposal storage p = _open(id);
        Tally storage t = _tallies[p.tally];
        if (p.tally == 0 || !_isFinal(t)) revert TallyNotFinal(p.tally, t.settlesAt, t.openDemands);
        (Totals memory totals, uint256 quorum, bool passed) = _outcome(p);
        if (!passed) revert ProposalDefeated(id, totals, quorum);
        bytes32 operation = TIMELOCK.hashOperationBatch(targets, values, calldatas, 0, bytes32(id));
        (p.status, p.operation) = (Status.Queued, operation);
        emit ProposalQueued(id, operation, totals);
        TIMELOCK.scheduleBatch(targets, values, calldatas, 0, bytes32(id), TIMELOCK.getMinDelay());
    }

    /// Executes a queued proposal when its delay is over; the same as calling the timelock.
    function execute(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        bytes32 descriptionHash
    ) external payable {
        uint256 id = proposalId(targets, values, calldatas, descriptionHash);
        TIMELOCK.executeBatch{value: msg.value}(targets, values, calldatas, 0, bytes32(id));
    }

    /// Cancels a proposal that was not executed. Bonds take their course.
    function cancel(uint256 id) external restricted {
        Proposal storage p = _proposals[id];
        Status status = p.status;
        if (status != Status.Open && status != Status.Queued) revert ProposalNotOpen(id, status);
        p.status = Status.Canceled;
        emit ProposalCanceled(id, msg.sender);
        if (status == Status.Open) return;
        if (TIMELOCK.isOperationDone(p.operation)) revert ProposalExecuted(id);
        if (TIMELOCK.isOperationPending(p.operation)) TIMELOCK.cancel(p.operation);
    }

    function rules() external view returns (BallotRules memory) {
        return _rules;
    }

    function proposal(uint256 id) external view returns (Proposal memory) {
        return _proposals[id];
    }

    function tallyOf(uint64 tally) external view returns (Tally memory) {
        return _tallies[tally];
    }

    /// Where a proposal stands now.
    function state(uint256 id) external view returns (State) {
        Proposal storage p = _proposals[id];
        if (p.status == Status.None) return State.Unknown;
        if (p.status == Status.Canceled) return State.Canceled;
        if (p.status == Status.Queued) {
            if (TIMELOCK.isOperationDone(p.operation)) return State.Executed;
            return TIMELOCK.isOperationPending(p.operation) ? State.Queued : State.Canceled;
        }
        if (block.timestamp <= p.snapshot) return State.Pending;
        if (block.timestamp <= p.deadline) return State.Voting;
        if (p.tally == 0) return block.timestamp <= p.closesAt ? State.Tallying : State.Defeated;
        if (!_isFinal(_tallies[p.tally])) return State.Tallying;
        (,, bool passed) = _outcome(p);
        return passed ? State.Succeeded : State.Defeated;
    }

    /// What a voter signs.
    function ballotDigest(uint256 id, Ballot memory ballot) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(abi.encode(BALLOT_TYPEHASH, id, ballot.voter, ballot.support, ballot.reason))
        );
    }

    /// The name of a proposal, another on every chain and in every box.
    function proposalId(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        bytes32 descriptionHash
    ) public view returns (uint256) {
        return uint256(
            keccak256(abi.encode(block.chainid, address(this), targets, values, calldatas, descriptionHash))
        );
    }

    function _setRules(BallotRules memory r) private {
        uint40 longest = r.votingDelay | r.votingPeriod | r.submissionWindow | r.challengeWindow | r.answerWindow;
        bool sound = longest < TOO_LONG && r.bond != 0 && r.demandBond != 0 && r.votingPeriod != 0 && r.submissionWindow != 0
            && r.challengeWindow != 0 && r.answerWindow != 0 && r.quorumBps <= BPS;
        if (!sound) revert RulesUnsound(r);
        _rules = r;
        emit RulesChanged(r);
    }

    /// Makes room for a tally of this weight, if it may take the place of what is there.
    function _displace(uint256 id, Proposal storage p, uint64 tally, uint256 weight) private {
        uint64 standing = p.tally;
        if (standing == 0) {
            if (block.timestamp > p.closesAt) revert SubmissionsClosed(id, p.closesAt);
            p.replacements = 0;
            return;
        }
        _inWindow(standing);
        uint256 standingWeight = _weightOf(standing);
        if (weight <= standingWeight) revert WeightTooLow(standing, weight, standingWeight);
        if (p.replacements == p.rules.maxReplacements) revert ReplacementsUsed(id, p.replacements);
        ++p.replacements;
        emit TallyReplaced(id, standing, tally);
    }

    function _lose(uint64 tally, Tally storage t, address challenger) private {
        t.status = TallyStatus.Lost;
        Proposal storage p = _proposals[t.proposal];
        if (p.tally == tally) {
            p.tally = 0;
            uint40 closesAt = uint40(block.timestamp) + p.rules.submissionWindow;
            if (closesAt > p.closesAt) p.closesAt = closesAt;
        }
        uint256 reward = _split(p.rules.bond, challenger);
        emit TallyLost(t.proposal, tally, challenger, reward);
    }

    /// Half of a lost bond to the winner, so that losing to oneself still costs, the rest to the treasury.
    function _split(uint256 bond, address winner) private returns (uint256 reward) {
        reward = bond / 2;
        TOKEN.safeTransfer(winner, reward);
        TOKEN.safeTransfer(TREASURY, bond - reward);
    }

    function _returnDemand(uint64 tally, uint256 index, Tally storage t, Demand storage d) private {
        d.status = DemandStatus.Closed;
        --t.openDemands;
        uint256 bond = _proposals[t.proposal].rules.demandBond;
        TOKEN.safeTransfer(d.by, bond);
        emit DemandReturned(tally, index, d.by, bond);
    }

    function _open(uint256 id) private view returns (Proposal storage p) {
        p = _proposals[id];
        if (p.status != Status.Open) revert ProposalNotOpen(id, p.status);
    }

    function _standing(uint64 tally) private view returns (Tally storage t) {
        t = _tallies[tally];
        if (t.status != TallyStatus.Standing) revert TallyNotStanding(tally, t.status);
    }

    function _challengeable(uint64 tally) private view returns (Tally storage t) {
        t = _standing(tally);
        if (_isFinal(t)) revert TallyFinal(tally, t.settlesAt);
    }

    function _inWindow(uint64 tally) private view returns (Tally storage t) {
        t = _standing(tally);
        if (block.timestamp >= t.settlesAt) revert WindowClosed(tally, t.settlesAt);
    }

    function _openDemand(uint64 tally, uint256 index) private view returns (Demand storage d) {
        d = demands[tally][index];
        if (d.status != DemandStatus.Open) revert DemandNotOpen(tally, index);
    }

    function _isFinal(Tally storage t) private view returns (bool) {
        return block.timestamp >= t.settlesAt && t.openDemands == 0;
    }

    function _weightOf(uint64 tally) private view returns (uint256) {
        Tally storage t = _tallies[tally];
        return t.claimed.sum() + t.included.sum();
    }

    function _outcome(Proposal storage p) private view returns (Totals memory totals, uint256 quorum, bool passed) {
        Tally storage t = _tallies[p.tally];
        totals = Totals({
            forVotes: t.claimed.forVotes + t.included.forVotes,
            againstVotes: t.claimed.againstVotes + t.included.againstVotes,
            abstainVotes: t.claimed.abstainVotes + t.included.abstainVotes
        });
        quorum = Math.mulDiv(VOTES.getPastTotalSupply(p.snapshot), p.rules.quorumBps, BPS);
        passed = totals.forVotes > totals.againstVotes && totals.forVotes + totals.abstainVotes >= quorum;
    }

    function _prove(uint64 tally, Tally storage t, Witness calldata w) private view {
        if (!w.isUnder(t.root)) revert ProofInvalid(tally, w.leaf.index);
    }

    function _isCountable(uint256 id, Leaf calldata leaf) private view returns (bool) {
        // slither-disable-next-line incorrect-equality -- past votes do not move, a leaf names them exactly
        return leaf.support <= ABSTAIN && leaf.weight != 0
            && leaf.weight == VOTES.getPastVotes(leaf.voter, _proposals[id].snapshot);
    }

    function _isSigned(uint256 id, Leaf calldata leaf, bytes calldata signature) private view returns (bool) {
        return _isSignedBy(id, Ballot({voter: leaf.voter, support: leaf.support, reason: leaf.reason}), signature);
    }

    function _isSignedBy(uint256 id, Ballot memory ballot, bytes calldata signature) private view returns (bool) {
        // slither-disable-next-line unused-return -- the third is a detail of the fault
        (address signer, ECDSA.RecoverError fault,) = ECDSA.tryRecoverCalldata(ballotDigest(id, ballot), signature);
        return fault == ECDSA.RecoverError.NoError && signer == ballot.voter;
    }

    function _isOmitted(uint32 count, address voter, Witness[] calldata w) private pure returns (bool) {
        if (w.length == 1) {
            Leaf calldata end = w[0].leaf;
            return (end.index == 0 && voter < end.voter) || (end.index == count - 1 && voter > end.voter);
        }
        return w.length == 2 && w[0].leaf.precedes(w[1].leaf) && w[0].leaf.voter < voter && voter < w[1].leaf.voter;
    }
}
