// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pausing} from "../access/Pausing.sol";
import {Ballots} from "./Ballots.sol";
import {Case, Ground, Phase, Progress, Subject, Terms, Verdict} from "./Case.sol";
import {IContributions} from "./interfaces/IContributions.sol";
import {IReceipts} from "./interfaces/IReceipts.sol";
import {IStaking} from "./interfaces/IStaking.sol";
import {Role} from "./Role.sol";

/// Bonded disputes about a receipt's shares or about a contribution, judged by staked validators.
///
///   open ─▶ Defence ─▶ Commit ─▶ Reveal ─▶ Tally ─▶ Appeal ─▶ Decided ─▶ Closed
///            accused                        anyone    │ double bond  ▲
///            may bond                                 └─▶ Ruling ────┘ governance, or time
///
/// A validator's weight is its stake just before the case opened. Whoever ends on the losing side
/// loses what it put down: half to the other side, half to the validators who voted as the verdict
/// is. The ways in can be paused, and for a while withdrawals; a case that is open keeps its times,
/// and anyone can end it.
contract Dispute is Ballots, Pausing {
    using SafeERC20 for IERC20;

    uint8 public constant OPEN_RECEIPT = 0;
    uint8 public constant OPEN_CONTRIBUTION = 1;
    uint8 public constant WITHDRAW = 2;

    /// The consequences of a case: the batch or the contribution, the stake, the penalty.
    uint8 public constant SUBJECT = 1;
    uint8 public constant SLASH = 2;
    uint8 public constant PENALTY = 4;

    uint256 public constant BPS = 10_000;
    uint40 public constant MAX_WINDOW = 60 days;
    /// What an appeal costs, in bonds.
    uint128 public constant APPEAL_BONDS = 2;

    IERC20 public immutable TOKEN;
    IStaking public immutable STAKING;
    IReceipts public immutable RECEIPTS;
    IContributions public immutable CONTRIBUTIONS;

    /// The terms of cases opened from now on.
    Terms public terms;
    /// Money to be withdrawn.
    mapping(address account => uint256 amount) public credits;
    /// The case that is open about a subject, or was upheld, plus one.
    mapping(bytes32 subject => uint256 idPlusOne) public openAbout;

    Case[] private _cases;

    event Opened(
        uint256 indexed id,
        address indexed challenger,
        address indexed accused,
        Ground ground,
        bytes32 datanet,
        bytes32 root,
        bytes32 receipt,
        bytes32 evidence,
        uint96 bond
    );
    event Defended(uint256 indexed id, address indexed accused, uint96 bond);
    event Tallied(uint256 indexed id, Verdict verdict, uint256 upheld, uint256 dismissed, uint256 total);
    event Appealed(uint256 indexed id, address indexed by, uint128 bond, uint40 until);
    event Ruled(uint256 indexed id, bool upheld);
    event Closed(uint256 indexed id, Verdict verdict, uint256 toWinner, uint256 pot);
    event Enforced(uint256 indexed id, uint8 consequence);
    event EnforcementFailed(uint256 indexed id, uint8 consequence);
    event Credited(uint256 indexed id, address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);
    event TermsChanged(Terms terms);

    error CaseUnknown(uint256 id);
    error WrongPhase(uint256 id, Phase phase);
    error AlreadyOpen(uint256 id);
    error BatchFinal(address node, bytes32 root);
    error ReceiptUnknown(address node, bytes32 root, bytes32 receipt);
    error ContributionUnknown(bytes32 datanet, address contributor, bytes32 root);
    error GroundUnfit(Ground ground);
    error SelfChallenge(address account);
    error NotAccused(uint256 id, address caller);
    error NotParty(uint256 id, address caller);
    error PartyVotes(uint256 id, address caller);
    error AppealByWinner(uint256 id, address caller);
    error AlreadyDefended(uint256 id);
    error NoWeight(uint256 id, address voter);
    error NothingDue(uint256 id, uint8 consequence);
    error NothingToClaim(uint256 id, address voter);
    error NothingToWithdraw(address account);
    error BpsOutOfRange(uint256 bps);
    error WindowOutOfRange(uint40 window);
    error BondZero();

    constructor(
        IERC20 token,
        address authority,
        IStaking staking,
        IReceipts receipts,
        IContributions contributions,
        Terms memory initial
    ) AccessManaged(authority) {
        (TOKEN, STAKING, RECEIPTS, CONTRIBUTIONS) = (token, staking, receipts, contributions);
        _setTerms(initial);
    }

    modifier during(uint256 id, Phase wanted) {
        Phase phase = phaseOf(id);
        if (phase != wanted) revert WrongPhase(id, phase);
        _;
    }

    // Opening.

    /// Disputes the shares of a receipt of a batch that is not final, and holds the batch. `proof`
    /// shows the receipt in the batch; `evidence` is the digest of what the challenger publishes.
    function openReceipt(address node, bytes32 root, bytes32 receipt, bytes32[] calldata proof, bytes32 evidence)
        external
        whenOpen(OPEN_RECEIPT)
        returns (uint256 id)
    {
        if (RECEIPTS.isFinal(node, root)) revert BatchFinal(node, root);
        if (!RECEIPTS.contains(node, root, receipt, proof)) revert ReceiptUnknown(node, root, receipt);
        id = _open(
            Subject({
                challenger: msg.sender,
                snapshot: _justNow(),
                ground: Ground.Shares,
                accused: node,
                datanet: bytes32(0),
                root: root,
                receipt: receipt,
                evidence: evidence
            })
        );
        RECEIPTS.hold(node, root);
    }

    /// Disputes a contribution, in whatever state it is: who withdraws a bad one still answers for it.
    function openContribution(
        bytes32 datanet,
        address contributor,
        bytes32 root,
        Ground ground,
        bytes32 evidence
    ) external whenOpen(OPEN_CONTRIBUTION) returns (uint256 id) {
        if (ground == Ground.Shares) revert GroundUnfit(ground);
        if (CONTRIBUTIONS.statusOf(datanet, contributor, root) == 0) {
            revert ContributionUnknown(datanet, contributor, root);
        }
        id = _open(
            Subject({
                challenger: msg.sender,
                snapshot: _justNow(),
                ground: ground,
                accused: contributor,
                datanet: datanet,
                root: root,
                receipt: bytes32(0),
                evidence: evidence
            })
        );
    }

    /// Puts the accused's bond down against the challenger's: the loser pays the winner.
    function defend(uint256 id) external during(id, Phase.Defence) {
        Case storage c = _cases[id];
        if (msg.sender != c.subject.accused) revert NotAccused(id, msg.sender);
        if (c.progress.accusedBond != 0) revert AlreadyDefended(id);
        uint96 bond = c.terms.bond;
        c.progress.accusedBond = bond;
        emit Defended(id, msg.sender, bond);
        TOKEN.safeTransferFrom(msg.sender, address(this), bond);
    }

    // Voting.

    /// Commits the calling validator to a choice that is revealed later; see `commitmentOf`.
    function commit(uint256 id, bytes32 commitment) external during(id, Phase.Commit) {
        Subject storage s = _cases[id].subject;
        if (msg.sender == s.challenger || msg.sender == s.accused) revert PartyVotes(id, msg.sender);
        if (weightOf(id, msg.sender) == 0) revert NoWeight(id, msg.sender);
        _commit(id, msg.sender, commitment);
    }

    /// Reveals what a validator committed to. Whoever has the salt may send it.
    function reveal(uint256 id, address voter, bool upheld, bytes32 salt) external during(id, Phase.Reveal) {
        _reveal(id, voter, upheld, salt, SafeCast.toUint120(weightOf(id, voter)));
    }

    /// Counts the votes. Under the quorum, or in a tie, the case is undecided.
    function tally(uint256 id) external during(id, Phase.Tally) returns (Verdict verdict) {
        Case storage c = _cases[id];
        Sides memory s = sides[id];
        uint256 total = STAKING.getPastTotalStake(Role.Validator, c.subject.snapshot);
        uint256 revealed = uint256(s.upheld) + s.dismissed;
        if (s.upheld == s.dismissed || revealed * BPS < total * c.terms.quorumBps) verdict = Verdict.Undecided;
        else verdict = s.upheld > s.dismissed ? Verdict.Upheld : Verdict.Dismissed;
        c.progress.verdict = verdict;
        c.progress.reached = Phase.Appeal;
        c.progress.until = uint40(block.timestamp) + c.terms.appeal;
        emit Tallied(id, verdict, s.upheld, s.dismissed, total);
    }

    // Appeal.

    /// Takes the case to governance, for a double bond. Only a party that has not won may.
    function appeal(uint256 id) external during(id, Phase.Appeal) {
        Case storage c = _cases[id];
        bool byChallenger = msg.sender == c.subject.challenger;
        if (!byChallenger && msg.sender != c.subject.accused) revert NotParty(id, msg.sender);
        if (c.progress.verdict == (byChallenger ? Verdict.Upheld : Verdict.Dismissed)) {
            revert AppealByWinner(id, msg.sender);
        }
        uint128 bond = APPEAL_BONDS * c.terms.bond;
        uint40 until = uint40(block.timestamp) + c.terms.ruling;
        if (byChallenger) c.progress.challengerBond += bond;
        else c.progress.accusedBond += bond;
        (c.progress.appealed, c.progress.reached, c.progress.until) = (true, Phase.Ruling, until);
        emit Appealed(id, msg.sender, bond, until);
        TOKEN.safeTransferFrom(msg.sender, address(this), bond);
    }

    /// Decides an appealed case in the vote's place.
    function rule(uint256 id, bool upheld) external restricted during(id, Phase.Ruling) {
        Verdict verdict = upheld ? Verdict.Upheld : Verdict.Dismissed;
        _cases[id].progress.verdict = verdict;
        emit Ruled(id, upheld);
        _close(id);
    }

    // Ending.

    /// Ends a case that was not appealed in time, or not ruled on in time, as the vote was.
    function finalise(uint256 id) external during(id, Phase.Decided) {
        _close(id);
    }

    /// Carries out a consequence of a closed case that failed when it closed. Money does not wait for it.
    function enforce(uint256 id, uint8 consequence) external during(id, Phase.Closed) {
        Case storage c = _cases[id];
        if (c.progress.due & consequence == 0 || consequence & (consequence - 1) != 0) {
            revert NothingDue(id, consequence);
        }
        c.progress.due &= ~consequence;
        Subject memory s = c.subject;
        // slither-disable-next-line unused-return -- the slash is found by its event
        if (consequence == SLASH) STAKING.proposeSlash(_roleOf(s), s.accused, c.terms.slashBps, s.evidence);
        else if (consequence == PENALTY) STAKING.addPenalty(_roleOf(s), s.accused, c.terms.penalty);
        else if (s.ground != Ground.Shares) CONTRIBUTIONS.revokeDisputed(s.datanet, s.accused, s.root);
        else if (c.progress.verdict == Verdict.Upheld) RECEIPTS.reject(s.accused, s.root);
        else RECEIPTS.release(s.accused, s.root);
        emit Enforced(id, consequence);
    }

    /// Credits a validator that voted as the verdict is with its part of the loser's bond.
    function claim(uint256 id, address voter) external during(id, Phase.Closed) returns (uint256 amount) {
        Progress memory p = _cases[id].progress;
        Ballot memory b = ballots[id][voter];
        bool won = p.verdict == (b.upheld ? Verdict.Upheld : Verdict.Dismissed);
        if (p.pot == 0 || b.weight == 0 || b.paid || !won) revert NothingToClaim(id, voter);
        ballots[id][voter].paid = true;
        amount = _part(p.pot, b, b.upheld ? sides[id].upheld : sides[id].dismissed);
        _credit(id, voter, amount);
    }

    /// Pays an account what it is credited with. Anybody may call; the money goes to the account.
    function withdraw(address account) external whenOpen(WITHDRAW) returns (uint256 amount) {
        amount = credits[account];
        if (amount == 0) revert NothingToWithdraw(account);
        credits[account] = 0;
        emit Withdrawn(account, amount);
        TOKEN.safeTransfer(account, amount);
    }

    /// Sets the terms of cases opened from now on.
    function setTerms(Terms calldata changed) external restricted {
        _setTerms(changed);
    }

    // Reading.

    function caseCount() external view returns (uint256) {
        return _cases.length;
    }

    function caseOf(uint256 id) external view returns (Case memory) {
        return _case(id);
    }

    /// Where a case stands now.
    function phaseOf(uint256 id) public view returns (Phase) {
        Case storage c = _case(id);
        (Phase reached, uint256 end) = (c.progress.reached, c.progress.until);
        if (reached == Phase.Closed || block.timestamp < end) return reached;
        if (reached != Phase.Defence) return Phase.Decided;
        if (block.timestamp < (end += c.terms.commit)) return Phase.Commit;
        if (block.timestamp < end + c.terms.reveal) return Phase.Reveal;
        return Phase.Tally;
    }

    /// A validator's weight in a case: its stake just before the case opened.
    function weightOf(uint256 id, address voter) public view returns (uint256) {
        return STAKING.getPastStake(Role.Validator, voter, _case(id).subject.snapshot);
    }

    /// Names what is disputed, so that nobody opens it twice at once.
    function subjectOf(address accused, bytes32 datanet, bytes32 root, bytes32 receipt) public pure returns (bytes32) {
        return keccak256(abi.encode(accused, datanet, root, receipt));
    }

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        return (uint128(1 << OPEN_RECEIPT | 1 << OPEN_CONTRIBUTION | 1 << WITHDRAW), uint128(1 << WITHDRAW));
    }

    function _open(Subject memory s) private returns (uint256 id) {
        if (s.challenger == s.accused) revert SelfChallenge(s.accused);
        bytes32 subject = _subject(s);
        if (openAbout[subject] != 0) revert AlreadyOpen(openAbout[subject] - 1);
        id = _cases.length;
        openAbout[subject] = id + 1;

        Terms memory t = terms;
        Case storage c = _cases.push();
        (c.subject, c.terms) = (s, t);
        c.progress.reached = Phase.Defence;
        c.progress.until = uint40(block.timestamp) + t.defence;
        c.progress.challengerBond = t.bond;
        emit Opened(id, s.challenger, s.accused, s.ground, s.datanet, s.root, s.receipt, s.evidence, t.bond);
        TOKEN.safeTransferFrom(s.challenger, address(this), t.bond);
    }

    function _close(uint256 id) private {
        Case storage c = _cases[id];
        c.progress.reached = Phase.Closed;
        // Who lost is not accused of the same again.
        if (c.progress.verdict != Verdict.Upheld) delete openAbout[_subject(c.subject)];
        _settle(id, c);
        _enforceAll(id, c);
    }

    function _settle(uint256 id, Case storage c) private {
        Progress memory p = c.progress;
        (address challenger, address accused) = (c.subject.challenger, c.subject.accused);
        if (p.verdict == Verdict.Undecided) {
            _credit(id, challenger, p.challengerBond);
            _credit(id, accused, p.accusedBond);
            emit Closed(id, p.verdict, 0, 0);
            return;
        }
        bool upheld = p.verdict == Verdict.Upheld;
        (uint256 kept, uint256 lost) =
            upheld ? (p.challengerBond, p.accusedBond) : (p.accusedBond, p.challengerBond);
        uint256 prize = lost / 2;
        uint256 pot = lost - prize;
        _credit(id, upheld ? challenger : accused, kept + prize);
        if ((upheld ? sides[id].upheld : sides[id].dismissed) == 0) {
            // Governance found what no validator had: nobody is there to share.
            _credit(id, STAKING.INSURANCE(), pot);
            pot = 0;
        }
        c.progress.pot = uint128(pot);
        emit Closed(id, p.verdict, prize, pot);
    }

    /// Tries each consequence by itself. One that fails, for whatever reason, can be enforced later
    /// by anyone; it keeps neither the bonds nor the other consequences.
    function _enforceAll(uint256 id, Case storage c) private {
        Subject memory s = c.subject;
        bool upheld = c.progress.verdict == Verdict.Upheld;
        uint8 due = upheld || s.ground == Ground.Shares ? SUBJECT : 0;
        if (upheld && c.terms.slashBps != 0 && STAKING.slashableOf(_roleOf(s), s.accused) != 0) due |= SLASH;
        if (upheld && c.terms.penalty != 0) due |= PENALTY;
        c.progress.due = due;
        for (uint8 one = SUBJECT; one <= PENALTY; one <<= 1) {
            if (due & one == 0) continue;
            try this.enforce(id, one) {}
            catch {
                emit EnforcementFailed(id, one);
            }
        }
    }

    function _credit(uint256 id, address account, uint256 amount) private {
        if (amount == 0) return;
        credits[account] += amount;
        emit Credited(id, account, amount);
    }

    function _case(uint256 id) private view returns (Case storage) {
        if (id >= _cases.length) revert CaseUnknown(id);
        return _cases[id];
    }

    function _subject(Subject memory s) private pure returns (bytes32) {
        return subjectOf(s.accused, s.datanet, s.root, s.receipt);
    }

    /// Nodes stake as agents, contributors as such.
    function _roleOf(Subject memory s) private pure returns (Role) {
        return s.ground == Ground.Shares ? Role.Agent : Role.Contributor;
    }

    /// Stake that comes in the same second as the case does not judge it.
    function _justNow() private view returns (uint48) {
        return uint48(block.timestamp - 1);
    }

    function _setTerms(Terms memory t) private {
        if (t.bond == 0) revert BondZero();
        if (t.quorumBps == 0 || t.quorumBps > BPS) revert BpsOutOfRange(t.quorumBps);
        if (t.slashBps > BPS) revert BpsOutOfRange(t.slashBps);
        uint40[5] memory windows = [t.defence, t.commit, t.reveal, t.appeal, t.ruling];
        for (uint256 i = 0; i < windows.length; ++i) {
            if (windows[i] == 0 || windows[i] > MAX_WINDOW) revert WindowOutOfRange(windows[i]);
        }
        terms = t;
        emit TermsChanged(t);
    }
}
