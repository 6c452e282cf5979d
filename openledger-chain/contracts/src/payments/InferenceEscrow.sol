// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pausing} from "../access/Pausing.sol";
import {AttributionLog} from "./AttributionLog.sol";
import {RewardDistributor} from "./RewardDistributor.sol";
import {Till} from "./Till.sol";

/// Money that users put down for inferences, and nodes ("payees") take for batches of receipts.
///
/// A payer locks a part of its balance for a payee until a time: so much the payee can rely on, and
/// work for. The payee settles a batch that it logged and that is final, once; the money goes to the
/// reward distributor and nowhere else. What is not taken in time returns to the payer, who takes its
/// free balance out after a delay.
///
/// ```text
/// deposit ─▶ balance ─ authorize ─▶ lock (payer, payee) ─ settle ─▶ distributor
///               │  ◀── release, after expiry ──┘ ▲
///               └─ requestWithdrawal … withdraw  └─ collect ◀─ till of the payee ◀─ x402 clients
/// ```
///
/// An x402 client signs a transfer to a plain address, so each payee has a till: an address known
/// before it exists. What is collected from it is locked for the payee by the payee, without expiry.
///
/// What stands here is when a payee may take money and how much at the most, not what an inference
/// was worth: the amounts of a settlement are the payee's word, up to the lock. So a payer locks for
/// a payee what it would lose to it. A payee works for a lock only while what is left of it outlasts
/// the batch's challenge window, and a dispute if it fears one: a lock that expired is the payer's.
///
/// The token must be OPEN: it takes no fee on transfers and calls nobody.
contract InferenceEscrow is Pausing {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// What a payee may still take from a payer, one storage slot.
    struct Lock {
        uint128 amount;
        uint40 expiresAt;
    }

    struct Withdrawal {
        uint128 amount;
        uint40 availableAt;
    }

    struct Charge {
        address payer;
        uint256 amount;
    }

    uint8 public constant DEPOSIT = 0;
    uint8 public constant DEPOSIT_WITH_AUTHORIZATION = 1;
    uint8 public constant AUTHORIZE = 2;
    uint8 public constant COLLECT = 3;
    uint8 public constant SETTLE = 4;
    uint8 public constant RELEASE = 5;
    uint8 public constant REQUEST_WITHDRAWAL = 6;
    uint8 public constant WITHDRAW = 7;

    /// A payer who mistypes a time must not wait for its money longer than this.
    uint40 public constant MAX_LOCK = 366 days;
    uint40 public constant MAX_DELAY = 30 days;
    uint40 public constant NEVER = type(uint40).max;

    IERC20 public immutable TOKEN;
    AttributionLog public immutable LOG;
    RewardDistributor public immutable DISTRIBUTOR;
    bytes32 public immutable TILL_CODE_HASH;

    /// What each payer can lock or withdraw.
    mapping(address payer => uint256 amount) public balances;
    mapping(address payer => mapping(address payee => Lock)) public locks;
    mapping(address payer => Withdrawal) public withdrawals;
    mapping(address node => mapping(bytes32 root => bool)) public settled;
    /// Seconds between the announcement of a withdrawal and the withdrawal, for those announced from now on.
    uint40 public withdrawalDelay;

    event Deposited(address indexed payer, uint256 amount);
    event Authorized(address indexed payer, address indexed payee, uint128 amount, uint128 locked, uint40 expiresAt);
    event Released(address indexed payer, address indexed payee, uint128 amount);
    event Collected(address indexed payee, address indexed till, uint256 amount);
    event Settled(address indexed node, bytes32 indexed root, uint256 total);
    event Charged(address indexed node, bytes32 indexed root, address indexed payer, uint256 amount);
    event WithdrawalRequested(address indexed payer, uint128 amount, uint40 availableAt);
    event Withdrawn(address indexed payer, uint256 amount);
    event WithdrawalDelayChanged(uint40 delay);

    error NothingToDeposit();
    error NothingToLock();
    error NothingToRelease(address payer, address payee);
    error NothingToCollect(address till);
    error NothingToSettle(address node, bytes32 root);
    error NothingToWithdraw(address payer);
    error BalanceTooLow(address payer, uint256 balance, uint256 amount);
    error PayeeInvalid(address payee);
    error ExpiryPast(uint40 expiresAt);
    error ExpiryFalls(uint40 expiresAt, uint40 before);
    error ExpiryTooFar(uint40 expiresAt, uint40 most);
    error LockTooLow(address payer, address payee, uint256 locked, uint256 amount);
    error LockExpired(address payer, address payee, uint40 expiresAt);
    error LockLive(address payer, address payee, uint40 expiresAt);
    error BatchSettled(address node, bytes32 root);
    error BatchNotFinal(address node, bytes32 root);
    error WithdrawalPending(address payer, uint40 availableAt);
    error DelayTooLong(uint40 delay, uint40 most);

    constructor(
        IERC20 token,
        AttributionLog log,
        RewardDistributor distributor,
        uint40 withdrawalDelay_,
        address authority
    ) AccessManaged(authority) {
        (TOKEN, LOG, DISTRIBUTOR) = (token, log, distributor);
        TILL_CODE_HASH = keccak256(abi.encodePacked(type(Till).creationCode, abi.encode(token)));
        _setWithdrawalDelay(withdrawalDelay_);
        token.forceApprove(address(distributor), type(uint256).max);
    }

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        all = (uint128(1) << (WITHDRAW + 1)) - 1;
        exits = (uint128(1) << RELEASE) | (uint128(1) << REQUEST_WITHDRAWAL) | (uint128(1) << WITHDRAW);
    }

    /// Puts the caller's money down.
    function deposit(uint256 amount) external whenOpen(DEPOSIT) {
        _deposit(msg.sender, amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// Puts down the money of `payer`, who signed ERC-3009's ReceiveWithAuthorization to this
    /// contract and needs no gas; anyone may bring the signature.
    function depositWithAuthorization(
        address payer,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external whenOpen(DEPOSIT_WITH_AUTHORIZATION) {
        _deposit(payer, amount);
        IERC3009(address(TOKEN))
            .receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, v, r, s);
    }

    /// Locks `amount` more of the caller's balance for `payee`, all of the lock until `expiresAt`.
    ///
    /// A live lock is never shortened: the payee may have worked for it already. An expired one
    /// returns to the balance first.
    function authorize(address payee, uint128 amount, uint40 expiresAt) external whenOpen(AUTHORIZE) {
        // The lock of a payee for itself is its till's.
        if (payee == address(0) || payee == msg.sender) revert PayeeInvalid(payee);
        if (expiresAt <= block.timestamp) revert ExpiryPast(expiresAt);
        uint40 most = uint40(block.timestamp) + MAX_LOCK;
        if (expiresAt > most) revert ExpiryTooFar(expiresAt, most);
        Lock memory lock = locks[msg.sender][payee];
        if (lock.amount != 0 && block.timestamp > lock.expiresAt) {
            _release(msg.sender, payee, lock.amount);
            lock.amount = 0;
        }
        if (lock.amount != 0 && expiresAt < lock.expiresAt) revert ExpiryFalls(expiresAt, lock.expiresAt);
        if (lock.amount + amount == 0) revert NothingToLock();
        _takeBalance(msg.sender, amount);
        locks[msg.sender][payee] = Lock({amount: lock.amount + amount, expiresAt: expiresAt});
        emit Authorized(msg.sender, payee, amount, lock.amount + amount, expiresAt);
    }

    /// Returns an expired lock to its payer's balance; anyone may call.
    function release(address payer, address payee) external whenOpen(RELEASE) {
        Lock memory lock = locks[payer][payee];
        if (lock.amount == 0) revert NothingToRelease(payer, payee);
        if (block.timestamp <= lock.expiresAt) revert LockLive(payer, payee, lock.expiresAt);
        _release(payer, payee, lock.amount);
    }

    /// Locks what clients paid to a payee's till, for the payee to charge itself; anyone may call.
    function collect(address payee) external whenOpen(COLLECT) returns (uint256 amount) {
        address from = till(payee);
        amount = TOKEN.balanceOf(from);
        // slither-disable-next-line incorrect-equality -- any unit is worth collecting
        if (amount == 0) revert NothingToCollect(from);
        Lock storage lock = locks[payee][payee];
        lock.amount += amount.toUint128();
        lock.expiresAt = NEVER;
        emit Collected(payee, from, amount);
        if (from.code.length == 0) new Till{salt: _salt(payee)}(TOKEN);
        // slither-disable-next-line arbitrary-send-erc20 -- from is the till of the payee, whose only power this is
        TOKEN.safeTransferFrom(from, address(this), amount);
    }

    /// Charges payers for the receipts of a final batch that the caller logged.
    function settle(bytes32 root, Charge[] calldata charges) external whenOpen(SETTLE) returns (uint256 total) {
        if (settled[msg.sender][root]) revert BatchSettled(msg.sender, root);
        if (!LOG.isFinal(msg.sender, root)) revert BatchNotFinal(msg.sender, root);
        settled[msg.sender][root] = true;
        for (uint256 i = 0; i < charges.length; ++i) {
            (address payer, uint256 amount) = (charges[i].payer, charges[i].amount);
            _takeLock(payer, amount);
            emit Charged(msg.sender, root, payer, amount);
            total += amount;
        }
        if (total == 0) revert NothingToSettle(msg.sender, root);
        emit Settled(msg.sender, root, total);
        DISTRIBUTOR.fund(total);
    }

    /// Announces that the caller takes `amount` of its balance out, in place of what it announced before.
    function requestWithdrawal(uint128 amount) external whenOpen(REQUEST_WITHDRAWAL) {
        uint40 availableAt = uint40(block.timestamp) + withdrawalDelay;
        withdrawals[msg.sender] = Withdrawal({amount: amount, availableAt: availableAt});
        emit WithdrawalRequested(msg.sender, amount, availableAt);
    }

    /// Pays out what was announced, or what of it is still free.
    function withdraw() external whenOpen(WITHDRAW) returns (uint256 amount) {
        Withdrawal memory w = withdrawals[msg.sender];
        if (block.timestamp < w.availableAt) revert WithdrawalPending(msg.sender, w.availableAt);
        amount = w.amount < balances[msg.sender] ? w.amount : balances[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        delete withdrawals[msg.sender];
        balances[msg.sender] -= amount;
        emit Withdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// Sets the delay of withdrawals announced from now on; those announced keep their time.
    function setWithdrawalDelay(uint40 delay) external restricted {
        _setWithdrawalDelay(delay);
    }

    /// Where x402 clients pay `payee`. What is there waits until `payee` can log batches: no role, no money.
    function till(address payee) public view returns (address) {
        return Create2.computeAddress(_salt(payee), TILL_CODE_HASH);
    }

    function _deposit(address payer, uint256 amount) private {
        if (amount == 0) revert NothingToDeposit();
        balances[payer] += amount;
        emit Deposited(payer, amount);
    }

    function _release(address payer, address payee, uint128 amount) private {
        delete locks[payer][payee];
        balances[payer] += amount;
        emit Released(payer, payee, amount);
    }

    function _takeBalance(address payer, uint256 amount) private {
        uint256 balance = balances[payer];
        if (amount > balance) revert BalanceTooLow(payer, balance, amount);
        balances[payer] = balance - amount;
    }

    function _takeLock(address payer, uint256 amount) private {
        Lock storage lock = locks[payer][msg.sender];
        (uint128 locked, uint40 expiresAt) = (lock.amount, lock.expiresAt);
        if (amount > locked) revert LockTooLow(payer, msg.sender, locked, amount);
        if (block.timestamp > expiresAt) revert LockExpired(payer, msg.sender, expiresAt);
        lock.amount = uint128(locked - amount);
    }

    function _setWithdrawalDelay(uint40 delay) private {
        if (delay > MAX_DELAY) revert DelayTooLong(delay, MAX_DELAY);
        withdrawalDelay = delay;
        emit WithdrawalDelayChanged(delay);
    }

    function _salt(address payee) private pure returns (bytes32) {
        return bytes32(uint256(uint160(payee)));
    }
}
