// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {AttributionLog} from "./AttributionLog.sol";
import {RewardDistributor} from "./RewardDistributor.sol";

/// Money that users put down for inferences, and nodes take for batches of receipts.
///
/// A payer allows a node up to a cap until a time. The node settles a batch it has logged, once;
/// the money goes to the reward distributor and nowhere else. What is not settled the payer takes
/// back, after a delay in which receipts already given can be settled.
contract InferenceEscrow {
    using SafeERC20 for IERC20;

    struct Allowance {
        uint128 cap;
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

    IERC20 public immutable TOKEN;
    AttributionLog public immutable LOG;
    RewardDistributor public immutable DISTRIBUTOR;
    uint40 public immutable WITHDRAWAL_DELAY;

    mapping(address payer => uint256 amount) public balances;
    mapping(address payer => mapping(address node => Allowance)) public allowances;
    mapping(address payer => Withdrawal) public withdrawals;
    mapping(uint256 batch => bool) public settled;

    event Deposited(address indexed payer, uint256 amount);
    event Authorized(address indexed payer, address indexed node, uint128 cap, uint40 expiresAt);
    event Settled(uint256 indexed batch, address indexed node, uint256 total);
    event Charged(uint256 indexed batch, address indexed payer, uint256 amount);
    event WithdrawalRequested(address indexed payer, uint128 amount, uint40 availableAt);
    event Withdrawn(address indexed payer, uint256 amount);

    error BalanceTooLow(address payer, uint256 balance, uint256 amount);
    error AllowanceTooLow(address payer, address node, uint256 cap, uint256 amount);
    error AllowanceExpired(address payer, address node, uint40 expiresAt);
    error BatchSettled(uint256 batch);
    error NotNode(uint256 batch, address caller);
    error WithdrawalPending(address payer, uint40 availableAt);
    error NothingToWithdraw(address payer);

    constructor(IERC20 token, AttributionLog log, RewardDistributor distributor, uint40 withdrawalDelay) {
        (TOKEN, LOG, DISTRIBUTOR, WITHDRAWAL_DELAY) = (token, log, distributor, withdrawalDelay);
        token.forceApprove(address(distributor), type(uint256).max);
    }

    /// Puts the caller's money down.
    function deposit(uint256 amount) external {
        balances[msg.sender] += amount;
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(msg.sender, amount);
    }

    /// Allows `node` to charge up to `cap` until `expiresAt`, in place of what it was allowed.
    function authorize(address node, uint128 cap, uint40 expiresAt) external {
        allowances[msg.sender][node] = Allowance({cap: cap, expiresAt: expiresAt});
        emit Authorized(msg.sender, node, cap, expiresAt);
    }

    /// Charges payers for the receipts of a batch that the caller logged.
    function settle(uint256 batch, Charge[] calldata charges) external returns (uint256 total) {
        (,, address node,,) = LOG.batches(batch);
        if (node != msg.sender) revert NotNode(batch, msg.sender);
        if (settled[batch]) revert BatchSettled(batch);
        settled[batch] = true;
        for (uint256 i = 0; i < charges.length; ++i) {
            _charge(charges[i].payer, charges[i].amount);
            emit Charged(batch, charges[i].payer, charges[i].amount);
            total += charges[i].amount;
        }
        DISTRIBUTOR.fund(total);
        emit Settled(batch, msg.sender, total);
    }

    /// Announces that the caller takes `amount` back; it can still be charged until it is taken.
    function requestWithdrawal(uint128 amount) external {
        uint40 availableAt = uint40(block.timestamp) + WITHDRAWAL_DELAY;
        withdrawals[msg.sender] = Withdrawal({amount: amount, availableAt: availableAt});
        emit WithdrawalRequested(msg.sender, amount, availableAt);
    }

    /// Pays out what was announced, or what is left of it.
    function withdraw() external returns (uint256 amount) {
        Withdrawal memory w = withdrawals[msg.sender];
        if (block.timestamp < w.availableAt) revert WithdrawalPending(msg.sender, w.availableAt);
        amount = w.amount < balances[msg.sender] ? w.amount : balances[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        delete withdrawals[msg.sender];
        balances[msg.sender] -= amount;
        TOKEN.safeTransfer(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
    }

    function _charge(address payer, uint256 amount) private {
        Allowance storage allowance = allowances[payer][msg.sender];
        if (block.timestamp > allowance.expiresAt) {
            revert AllowanceExpired(payer, msg.sender, allowance.expiresAt);
        }
        if (amount > allowance.cap) revert AllowanceTooLow(payer, msg.sender, allowance.cap, amount);
        uint256 balance = balances[payer];
        if (amount > balance) revert BalanceTooLow(payer, balance, amount);
        allowance.cap -= uint128(amount);
        balances[payer] = balance - amount;
    }
}
