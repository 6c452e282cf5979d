// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Pausing} from "../access/Pausing.sol";
import {Compounding, Pool} from "./Pool.sol";
import {Role} from "./Role.sol";
import {Exit, Position, SlashStatus, Vault} from "./Vault.sol";

/// Stake behind operators: it earns, it votes, it can be lost, and it leaves slowly.
///
///   stake ──▶ vault of (role, operator) ──unbond──▶ its queue ──cooldown──▶ withdraw
///                │ grows by exp(rate * t) out of a funded reserve
///                └───────── slash takes the same part of both ──▶ insurance
///
/// Anybody may stake behind any operator; behind another it is a delegation. Terms are fixed when
/// they start to bind: a lock with the stake, a cooldown with the exit, a delay with the slash.
/// No money leaves but to its owners, or by a slash to the insurance account.
contract Staking is Pausing {
    using Checkpoints for Checkpoints.Trace208;
    using Compounding for Pool;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    struct Terms {
        uint40 lock;
        uint40 cooldown;
    }

    struct Caps {
        uint128 role;
        uint128 operator;
    }

    struct Slash {
        address operator;
        Role role;
        SlashStatus status;
        uint16 bps;
        uint40 executableAt;
        bytes32 evidence;
    }

    uint8 public constant STAKE = 0;
    uint8 public constant FUND = 1;
    uint8 public constant UNBOND = 2;
    uint8 public constant WITHDRAW = 3;

    uint256 public constant BPS = 10_000;
    uint64 public constant MAX_RATE = 1e18;
    uint40 public constant MAX_LOCK = 4 * 365 days;
    uint40 public constant MAX_COOLDOWN = 365 days;
    uint40 public constant MAX_SLASH_DELAY = 30 days;
    /// Shares that nobody has, beside one unit: the first staker cannot set the price.
    uint256 public constant VIRTUAL_SHARES = 1000;

    IERC20 public immutable TOKEN;
    address public immutable INSURANCE;

    mapping(Role role => Terms) public terms;
    mapping(Role role => Caps) public caps;
    // slither-disable-next-line uninitialized-state -- written through storage pointers
    mapping(Role role => mapping(address operator => mapping(address owner => Position))) public positions;
    Slash[] public slashes;
    /// Seconds between the proposal of a slash and its execution.
    uint40 public slashDelay;
    /// From this penalty on, a vault's growth is cut by `penaltyCut` basis points.
    uint64 public penaltyThreshold;
    uint16 public penaltyCut;

    mapping(Role role => Pool) private _pools;
    mapping(Role role => mapping(address operator => Vault)) private _vaults;
    // slither-disable-next-line uninitialized-state -- pushed to through a storage pointer
    mapping(Role role => mapping(address operator => mapping(address owner => Exit[]))) private _exits;
    mapping(Role role => mapping(address operator => Checkpoints.Trace208)) private _unitsAt;
    mapping(Role role => Checkpoints.Trace208) private _totalAt;
    mapping(Role role => Checkpoints.Trace208) private _indexAt;

    event Staked(
        Role indexed role, address indexed operator, address indexed owner, uint256 amount, uint256 shares, uint40 lockedUntil
    );
    event Unbonding(
        Role indexed role,
        address indexed operator,
        address indexed owner,
        uint256 exit,
        uint256 amount,
        uint256 shares,
        uint40 availableAt
    );
    event Withdrawn(Role indexed role, address indexed operator, address indexed owner, uint256 exit, uint256 amount);
    event RewardsFunded(Role indexed role, address indexed from, uint256 amount);
    event RewardsAccrued(Role indexed role, uint256 amount, uint256 index);
    event RewardsCut(Role indexed role, address indexed operator, uint256 amount);
    event PenaltyChanged(Role indexed role, address indexed operator, uint64 penalty, uint16 cut);
    event SlashProposed(
        uint256 indexed id, Role indexed role, address indexed operator, uint16 bps, bytes32 evidence, uint40 executableAt
    );
    event SlashVetoed(uint256 indexed id, address indexed by);
    event SlashExecuted(uint256 indexed id, uint256 fromActive, uint256 fromQueue);
    event RateChanged(Role indexed role, uint64 rate);
    event TermsChanged(Role indexed role, uint40 lock, uint40 cooldown);
    event CapsChanged(Role indexed role, uint128 roleCap, uint128 operatorCap);
    event SlashDelayChanged(uint40 delay);
    event PenaltyRuleChanged(uint64 threshold, uint16 cut);

    error AmountTooSmall(uint256 amount);
    error VaultClosed(Role role, address operator);
    error RoleCapExceeded(Role role, uint256 total, uint256 cap);
    error OperatorCapExceeded(Role role, address operator, uint256 stake, uint256 cap);
    error SharesTooFew(address owner, uint256 has, uint256 wanted);
    error StakeLocked(uint40 until);
    error ExitUnknown(uint256 exit);
    error ExitDone(uint256 exit);
    error CooldownRunning(uint40 until);
    error SlashPending(Role role, address operator);
    error SlashUnknown(uint256 id);
    error SlashDecided(uint256 id, SlashStatus status);
    error SlashTooEarly(uint256 id, uint40 executableAt);
    error BpsOutOfRange(uint256 bps);
    error RateTooHigh(uint64 rate);
    error TermTooLong(uint40 term, uint40 longest);
    error InsuranceMissing();
    error TimeNotPast(uint48 time);

    constructor(IERC20 token, address authority, address insurance) AccessManaged(authority) {
        if (insurance == address(0)) revert InsuranceMissing();
        (TOKEN, INSURANCE) = (token, insurance);
        for (uint8 i = 0; i <= uint8(type(Role).max); ++i) {
            Role role = Role(i);
            _pools[role].base = Compounding.RAY;
            _pools[role].since = uint40(block.timestamp);
            _setTerms(role, 7 days, 28 days);
            _setCaps(role, type(uint128).max, type(uint128).max);
        }
        _setSlashDelay(2 days);
        _setPenaltyRule(100, 5_000);
    }

    // What owners do.

    /// Puts `amount` of the caller's behind `operator`. The caller's whole position there is locked
    /// anew.
    function stake(Role role, address operator, uint128 amount) external whenOpen(STAKE) returns (uint256 shares) {
        (Pool memory pool, uint256 index) = _accrue(role);
        Vault storage v = _settle(role, operator, pool, index);
        bool isSpent = v.queued == 0 && v.queueShares != 0; // whatever joins that queue could not leave it
        if ((v.units == 0 && v.shares != 0) || isSpent) revert VaultClosed(role, operator);
        uint256 units = Compounding.toUnits(amount, index);
        shares = Math.mulDiv(units, v.shares + VIRTUAL_SHARES, uint256(v.units) + 1);

        pool.units += uint128(units);
        pool.total += amount;
        v.units += uint128(units);
        v.shares = (uint256(v.shares) + shares).toUint128();
        // Rounding leaves nothing of dust: it could not be taken out again.
        // slither-disable-next-line incorrect-equality -- any unit can be taken out
        if (Compounding.toAssets(_unitsFor(v, shares), index) == 0) revert AmountTooSmall(amount);
        _checkCaps(role, operator, pool.total, Compounding.toAssets(v.units, index));

        Position storage p = positions[role][operator][msg.sender];
        p.shares += uint128(shares);
        uint40 lockedUntil = uint40(block.timestamp) + terms[role].lock;
        if (lockedUntil > p.lockedUntil) p.lockedUntil = lockedUntil;
        _save(role, operator, pool, index);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Staked(role, operator, msg.sender, amount, shares, p.lockedUntil);
    }

    /// Takes `shares` of the caller's out of work and into the queue, where they wait for the
    /// cooldown, earn nothing, and can still be slashed.
    function unbond(Role role, address operator, uint128 shares)
        external
        whenOpen(UNBOND)
        returns (uint256 exit, uint256 amount)
    {
        Position storage p = positions[role][operator][msg.sender];
        if (shares > p.shares) revert SharesTooFew(msg.sender, p.shares, shares);
        if (block.timestamp < p.lockedUntil) revert StakeLocked(p.lockedUntil);
        (Pool memory pool, uint256 index) = _accrue(role);
        Vault storage v = _settle(role, operator, pool, index);
        uint256 units = _unitsFor(v, shares);
        amount = Compounding.toAssets(units, index);
        // slither-disable-next-line incorrect-equality -- any unit is worth an exit
        if (amount == 0) revert AmountTooSmall(amount);

        p.shares -= shares;
        v.shares -= shares;
        v.units -= uint128(units);
        pool.units -= uint128(units);
        pool.total -= uint128(amount);
        _save(role, operator, pool, index);
        uint40 availableAt;
        (exit, availableAt) = _enqueue(role, operator, v, amount);
        emit Unbonding(role, operator, msg.sender, exit, amount, shares, availableAt);
    }

    /// Pays out one of the caller's exits, after its cooldown and while no slash of the vault waits.
    function withdraw(Role role, address operator, uint256 exit) external whenOpen(WITHDRAW) returns (uint256 amount) {
        Exit[] storage exits = _exits[role][operator][msg.sender];
        if (exit >= exits.length) revert ExitUnknown(exit);
        Exit memory e = exits[exit];
        if (e.shares == 0) revert ExitDone(exit);
        if (block.timestamp < e.availableAt) revert CooldownRunning(e.availableAt);
        Vault storage v = _vaults[role][operator];
        if (v.slashes != 0) revert SlashPending(role, operator);

        exits[exit].shares = 0;
        amount = Math.mulDiv(e.shares, v.queued, v.queueShares);
        v.queued -= uint128(amount);
        v.queueShares -= e.shares;
        emit Withdrawn(role, operator, msg.sender, exit, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // What anybody does.

    /// Adds to the reserve that pays a role's growth from now on. It cannot be taken back.
    function fundRewards(Role role, uint128 amount) external whenOpen(FUND) {
        if (amount == 0) revert AmountTooSmall(amount);
        (Pool memory pool, uint256 index) = _accrue(role);
        pool.reserve += amount;
        _savePool(role, pool, index);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit RewardsFunded(role, msg.sender, amount);
    }

    /// Writes down a vault's growth until now. Nothing is gained or lost by it; checkpoints see it.
    function accrue(Role role, address operator) external {
        (Pool memory pool, uint256 index) = _accrue(role);
        _settle(role, operator, pool, index);
        _save(role, operator, pool, index);
    }

    /// Carries out a slash whose delay is over: the same part of what works and of what is leaving
    /// goes to the insurance account.
    function executeSlash(uint256 id) external returns (uint256 fromActive, uint256 fromQueue) {
        Slash storage s = _pendingSlash(id);
        if (block.timestamp < s.executableAt) revert SlashTooEarly(id, s.executableAt);
        s.status = SlashStatus.Executed;
        (Role role, address operator, uint256 bps) = (s.role, s.operator, s.bps);
        (Pool memory pool, uint256 index) = _accrue(role);
        Vault storage v = _settle(role, operator, pool, index);

        uint256 units = Math.mulDiv(v.units, bps, BPS);
        fromActive = Compounding.toAssets(units, index);
        fromQueue = Math.mulDiv(v.queued, bps, BPS);
        v.slashes -= 1;
        v.units -= uint128(units);
        v.queued -= uint128(fromQueue);
        pool.units -= uint128(units);
        pool.total -= uint128(fromActive);
        _save(role, operator, pool, index);
        emit SlashExecuted(id, fromActive, fromQueue);
        TOKEN.safeTransfer(INSURANCE, fromActive + fromQueue);
    }

    // What judges, guardians and governance do.

    /// Proposes to take `bps` of a vault. Until it is executed or vetoed nobody withdraws there.
    function proposeSlash(Role role, address operator, uint16 bps, bytes32 evidence)
        external
        restricted
        returns (uint256 id)
    {
        if (bps == 0 || bps > BPS) revert BpsOutOfRange(bps);
        id = slashes.length;
        uint40 executableAt = uint40(block.timestamp) + slashDelay;
        slashes.push(
            Slash({
                operator: operator,
                role: role,
                status: SlashStatus.Pending,
                bps: bps,
                executableAt: executableAt,
                evidence: evidence
            })
        );
        _vaults[role][operator].slashes += 1;
        emit SlashProposed(id, role, operator, bps, evidence, executableAt);
    }

    /// Stops a slash that is not executed.
    function vetoSlash(uint256 id) external restricted {
        Slash storage s = _pendingSlash(id);
        s.status = SlashStatus.Vetoed;
        _vaults[s.role][s.operator].slashes -= 1;
        emit SlashVetoed(id, msg.sender);
    }

    /// Adds to an operator's penalty; over the threshold its growth is cut from now on.
    function addPenalty(Role role, address operator, uint64 points) external restricted {
        Vault storage v = _vaults[role][operator];
        // Saturates: an overflow must not keep a dispute from ending.
        _setPenalty(role, operator, uint64(Math.min(uint256(v.penalty) + points, type(uint64).max)));
    }

    /// Takes points off an operator's penalty; under the threshold its growth is whole from now on.
    function forgive(Role role, address operator, uint64 points) external restricted {
        uint64 penalty = _vaults[role][operator].penalty;
        _setPenalty(role, operator, penalty > points ? penalty - points : 0);
    }

    /// Sets a role's yearly rate, 1e18 being 100 %, from now on.
    function setRate(Role role, uint64 rate) external restricted {
        if (rate > MAX_RATE) revert RateTooHigh(rate);
        (Pool memory pool, uint256 index) = _accrue(role);
        pool.rate = rate;
        _savePool(role, pool, index);
        emit RateChanged(role, rate);
    }

    /// Sets the lock of stakes and the cooldown of exits that begin from now on. The cooldown
    /// should be longer than a dispute with its appeal, or the accused leaves before the verdict.
    function setTerms(Role role, uint40 lock, uint40 cooldown) external restricted {
        _setTerms(role, lock, cooldown);
    }

    /// Sets how far stakes may raise a role and an operator; growth may go beyond.
    function setCaps(Role role, uint128 roleCap, uint128 operatorCap) external restricted {
        _setCaps(role, roleCap, operatorCap);
    }

    /// Sets the delay of slashes proposed from now on.
    function setSlashDelay(uint40 delay) external restricted {
        _setSlashDelay(delay);
    }

    /// Sets the rule that penalties are judged by when they next change.
    function setPenaltyRule(uint64 threshold, uint16 cut) external restricted {
        _setPenaltyRule(threshold, cut);
    }

    // What anybody reads.

    /// What works behind an operator now, with its growth.
    function stakeOf(Role role, address operator) public view returns (uint256) {
        (, uint256 index) = _peek(role);
        return Compounding.toAssets(_unitsOf(_vaults[role][operator], index), index);
    }

    /// What waits to leave an operator.
    function queuedOf(Role role, address operator) external view returns (uint256) {
        return _vaults[role][operator].queued;
    }

    /// What a slash of an operator could reach now.
    function slashableOf(Role role, address operator) external view returns (uint256) {
        return stakeOf(role, operator) + _vaults[role][operator].queued;
    }

    /// What an owner's position behind an operator is worth now.
    function assetsOf(Role role, address operator, address owner) external view returns (uint256) {
        (, uint256 index) = _peek(role);
        Vault storage v = _vaults[role][operator];
        uint256 units = _unitsOf(v, index) + 1;
        return Compounding.toAssets(
            Math.mulDiv(positions[role][operator][owner].shares, units, v.shares + VIRTUAL_SHARES), index
        );
    }

    /// What works in a role now, with its growth.
    function totalStake(Role role) external view returns (uint256) {
        (Pool memory pool,) = _peek(role);
        return pool.total;
    }

    /// What is left to pay a role's growth, after its growth until now.
    function reserveOf(Role role) external view returns (uint256) {
        (Pool memory pool,) = _peek(role);
        return pool.reserve;
    }

    /// What a unit of a role is worth now, times 1e27.
    function indexOf(Role role) external view returns (uint256 index) {
        (, index) = _peek(role);
    }

    function poolOf(Role role) external view returns (Pool memory) {
        return _pools[role];
    }

    function vaultOf(Role role, address operator) external view returns (Vault memory) {
        return _vaults[role][operator];
    }

    function exitsOf(Role role, address operator, address owner) external view returns (Exit[] memory) {
        return _exits[role][operator][owner];
    }

    function slashCount() external view returns (uint256) {
        return slashes.length;
    }

    /// What worked behind an operator at a past time, by the index last written before it.
    function getPastStake(Role role, address operator, uint48 time) external view returns (uint256) {
        return _past(role, _unitsAt[role][operator], time);
    }

    /// What worked in a role at a past time, by the same index: operators' stakes sum to it.
    function getPastTotalStake(Role role, uint48 time) external view returns (uint256) {
        return _past(role, _totalAt[role], time);
    }

    /// Both ways out are exits: leaving begins with `unbond`.
    function pausable() public pure override returns (uint128 all, uint128 exits) {
        return (uint128(1 << STAKE | 1 << FUND | 1 << UNBOND | 1 << WITHDRAW), uint128(1 << UNBOND | 1 << WITHDRAW));
    }

    function _peek(Role role) private view returns (Pool memory pool, uint256 index) {
        pool = _pools[role];
        // slither-disable-next-line unused-return -- what accrued is in the pool too
        (index,) = pool.accrue(block.timestamp);
    }

    function _accrue(Role role) private returns (Pool memory pool, uint256 index) {
        uint256 paid;
        pool = _pools[role];
        (index, paid) = pool.accrue(block.timestamp);
        if (paid != 0) emit RewardsAccrued(role, paid, index);
    }

    /// A vault's units after its cut.
    function _unitsOf(Vault storage v, uint256 index) private view returns (uint256) {
        return Compounding.kept(v.units, v.cutAt, index, v.cut);
    }

    /// What shares of a vault that is settled are worth, in units.
    function _unitsFor(Vault storage v, uint256 shares) private view returns (uint256) {
        return Math.mulDiv(shares, uint256(v.units) + 1, v.shares + VIRTUAL_SHARES);
    }

    /// Gives what a vault's cut takes of its growth back to the reserve it came from.
    function _settle(Role role, address operator, Pool memory pool, uint256 index) private returns (Vault storage v) {
        v = _vaults[role][operator];
        if (v.cut == 0) return v;
        uint256 lost = v.units - _unitsOf(v, index);
        uint256 amount = Compounding.toAssets(lost, index);
        v.cutAt = index;
        v.units -= uint128(lost);
        pool.units -= uint128(lost);
        pool.total -= uint128(amount);
        pool.reserve += uint128(amount);
        if (amount != 0) emit RewardsCut(role, operator, amount);
    }

    function _enqueue(Role role, address operator, Vault storage v, uint256 amount)
        private
        returns (uint256 exit, uint40 availableAt)
    {
        // Nothing but a slash moves the queue's price, and that only down, so it needs no offset.
        uint256 shares = v.queueShares == 0 ? amount : Math.mulDiv(amount, v.queueShares, v.queued);
        v.queued += uint128(amount);
        v.queueShares += shares.toUint216();
        Exit[] storage exits = _exits[role][operator][msg.sender];
        exit = exits.length;
        availableAt = uint40(block.timestamp) + terms[role].cooldown;
        exits.push(Exit({shares: uint216(shares), availableAt: availableAt}));
    }

    function _save(Role role, address operator, Pool memory pool, uint256 index) private {
        _savePool(role, pool, index);
        _write(_unitsAt[role][operator], _vaults[role][operator].units);
    }

    function _savePool(Role role, Pool memory pool, uint256 index) private {
        _pools[role] = pool;
        _write(_totalAt[role], pool.units);
        _write(_indexAt[role], index);
    }

    function _write(Checkpoints.Trace208 storage trace, uint256 value) private {
        // slither-disable-next-line unused-return -- the value before and after is known here
        if (trace.latest() != value) trace.push(uint48(block.timestamp), value.toUint208());
    }

    function _past(Role role, Checkpoints.Trace208 storage trace, uint48 time) private view returns (uint256) {
        if (time >= block.timestamp) revert TimeNotPast(time);
        return Compounding.toAssets(trace.upperLookupRecent(time), _indexAt[role].upperLookupRecent(time));
    }

    function _checkCaps(Role role, address operator, uint256 total, uint256 active) private view {
        Caps memory c = caps[role];
        if (total > c.role) revert RoleCapExceeded(role, total, c.role);
        if (active > c.operator) revert OperatorCapExceeded(role, operator, active, c.operator);
    }

    function _pendingSlash(uint256 id) private view returns (Slash storage s) {
        if (id >= slashes.length) revert SlashUnknown(id);
        s = slashes[id];
        if (s.status != SlashStatus.Pending) revert SlashDecided(id, s.status);
    }

    function _setPenalty(Role role, address operator, uint64 penalty) private {
        (Pool memory pool, uint256 index) = _accrue(role);
        Vault storage v = _settle(role, operator, pool, index);
        v.penalty = penalty;
        v.cut = penalty >= penaltyThreshold ? penaltyCut : 0;
        v.cutAt = index;
        _save(role, operator, pool, index);
        emit PenaltyChanged(role, operator, penalty, v.cut);
    }

    function _setTerms(Role role, uint40 lock, uint40 cooldown) private {
        if (lock > MAX_LOCK) revert TermTooLong(lock, MAX_LOCK);
        if (cooldown > MAX_COOLDOWN) revert TermTooLong(cooldown, MAX_COOLDOWN);
        terms[role] = Terms({lock: lock, cooldown: cooldown});
        emit TermsChanged(role, lock, cooldown);
    }

    function _setCaps(Role role, uint128 roleCap, uint128 operatorCap) private {
        caps[role] = Caps({role: roleCap, operator: operatorCap});
        emit CapsChanged(role, roleCap, operatorCap);
    }

    function _setSlashDelay(uint40 delay) private {
        if (delay > MAX_SLASH_DELAY) revert TermTooLong(delay, MAX_SLASH_DELAY);
        slashDelay = delay;
        emit SlashDelayChanged(delay);
    }

    function _setPenaltyRule(uint64 threshold, uint16 cut) private {
        if (cut > BPS) revert BpsOutOfRange(cut);
        (penaltyThreshold, penaltyCut) = (threshold, cut);
        emit PenaltyRuleChanged(threshold, cut);
    }
}
