// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AttributionLog} from "../../src/payments/AttributionLog.sol";
import {InferenceEscrow} from "../../src/payments/InferenceEscrow.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {Authorization} from "../tokens/Authorization.sol";

/// Payers, nodes, x402 clients, disputes and people who send money to the wrong address, who do
/// anything in any order.
///
/// Beside the escrow it keeps its own account of what must be so; what is not so is noted in `broken`.
contract Market is Test {
    struct Batch {
        address node;
        bytes32 root;
        uint40 finalAt;
        uint16 held;
        bool rejected;
        bool settled;
    }

    InferenceEscrow public immutable ESCROW;
    AttributionLog public immutable LOG;
    OpenToken public immutable TOKEN;
    address public immutable TREASURY = address(0x77);
    address public immutable ADMIN;
    address public immutable DISPUTES;

    Batch[] private _batches;
    uint256 public deposited;
    uint256 public collected;
    uint256 public strays;
    uint256 public settled;
    uint256 public withdrawn;
    uint256 public settlements;
    uint256 private _nonce;
    address[4] private _accounts;
    string public broken;

    constructor(InferenceEscrow escrow, address admin, address disputes) {
        (ESCROW, LOG, TOKEN) = (escrow, escrow.LOG(), OpenToken(address(escrow.TOKEN())));
        (ADMIN, DISPUTES) = (admin, disputes);
        for (uint256 i = 0; i < 4; ++i) {
            _accounts[i] = vm.addr(_key(i));
        }
    }

    /// Four payers; the last two are nodes as well.
    function account(uint256 seed) public view returns (address) {
        return _accounts[seed % 4];
    }

    function node(uint256 seed) public view returns (address) {
        return account(2 + seed % 2);
    }

    function deposit(uint8 who, uint80 amount) external {
        address payer = account(who);
        _give(payer, amount);
        // One prank for each call: one that a revert leaves open would spoil the calls to come.
        vm.prank(payer);
        TOKEN.approve(address(ESCROW), amount);
        vm.prank(payer);
        ESCROW.deposit(amount);
        deposited += amount;
    }

    function depositSigned(uint8 who, uint80 amount, uint8 by) external {
        address payer = account(who);
        _give(payer, amount);
        bytes32 nonce = bytes32(++_nonce);
        (uint8 v, bytes32 r, bytes32 s) =
            _sign(who, Authorization.RECEIVE, address(ESCROW), amount, nonce);
        vm.prank(account(by));
        ESCROW.depositWithAuthorization(payer, amount, 0, type(uint256).max, nonce, v, r, s);
        deposited += amount;
    }

    function authorize(uint8 who, uint8 to, uint80 amount, uint24 time) external {
        (address payer, address payee) = (account(who), node(to));
        (uint128 before, uint40 expiry) = ESCROW.locks(payer, payee);
        bool live = before != 0 && block.timestamp <= expiry;
        uint256 whole = ESCROW.balances(payer) + before;
        amount = uint80(bound(amount, 0, ESCROW.balances(payer)));
        vm.prank(payer);
        ESCROW.authorize(payee, amount, uint40(block.timestamp) + 1 hours + time);
        (uint128 now_, uint40 newExpiry) = ESCROW.locks(payer, payee);
        if (live && (now_ < before || newExpiry < expiry)) broken = "a live lock that shrank";
        if (ESCROW.balances(payer) + now_ != whole) broken = "a lock that made or lost money";
    }

    function log(uint8 by) external {
        address who = node(by);
        bytes32 root = keccak256(abi.encode(_batches.length));
        uint40 finalAt = uint40(block.timestamp) + _window(who);
        vm.prank(who);
        LOG.log(1, "model", root, "body", 1);
        _batches.push(Batch(who, root, finalAt, 0, false, false));
    }

    /// A holder of the dispute's role opens, loses or wins a challenge.
    function dispute(uint8 seed, uint8 move) external {
        if (_batches.length == 0) return;
        Batch storage b = _batches[seed % _batches.length];
        vm.prank(DISPUTES);
        if (move % 3 == 0) {
            LOG.hold(b.node, b.root);
            ++b.held;
        } else if (move % 3 == 1) {
            LOG.release(b.node, b.root);
            --b.held;
        } else {
            LOG.reject(b.node, b.root);
            --b.held;
            b.rejected = true;
        }
    }

    function settle(uint8 seed, uint8[3] calldata payers, uint80[3] calldata amounts, uint8 by) external {
        if (_batches.length == 0) return;
        Batch storage b = _batch(seed);
        address caller = by % 8 == 0 ? account(by) : b.node;
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](3);
        uint256 total;
        uint256 locked = _locked();
        for (uint256 i = 0; i < 3; ++i) {
            (uint128 most, uint40 expiry) = ESCROW.locks(account(payers[i]), caller);
            if (block.timestamp > expiry && by % 8 != 1) most = 0; // or it is refused for all
            charges[i] = InferenceEscrow.Charge(account(payers[i]), bound(amounts[i], 0, most));
            total += charges[i].amount;
        }
        bool final_ = block.timestamp >= b.finalAt && b.held == 0 && !b.rejected && !b.settled && caller == b.node;
        vm.prank(caller);
        ESCROW.settle(b.root, charges);
        if (!final_) broken = "a batch settled that is not final, or twice, or by another";
        if (_locked() != locked - total) broken = "locks lost another amount than was charged";
        b.settled = true;
        settled += total;
        ++settlements;
    }

    function release(uint8 who, uint8 to) external {
        (address payer, address payee) = (account(who), node(to));
        (uint128 amount, uint40 expiry) = ESCROW.locks(payer, payee);
        uint256 before = ESCROW.balances(payer);
        bool may = amount != 0 && block.timestamp > expiry;
        try ESCROW.release(payer, payee) {
            if (!may) broken = "a live lock released";
            if (ESCROW.balances(payer) != before + amount) broken = "an expired lock that went elsewhere";
        } catch {
            if (may) broken = "an expired lock that does not return";
        }
    }

    function payTill(uint8 who, uint8 to, uint80 amount) external {
        _give(account(who), amount);
        address till = ESCROW.till(node(to));
        bytes32 nonce = bytes32(++_nonce);
        (uint8 v, bytes32 r, bytes32 s) = _sign(who, Authorization.TRANSFER, till, amount, nonce);
        TOKEN.transferWithAuthorization(account(who), till, amount, 0, type(uint256).max, nonce, v, r, s);
    }

    function collect(uint8 to) external {
        collected += ESCROW.collect(node(to));
    }

    function stray(uint80 amount) external {
        _give(address(ESCROW), amount);
        strays += amount;
    }

    function requestWithdrawal(uint8 who, uint80 amount) external {
        vm.prank(account(who));
        ESCROW.requestWithdrawal(amount);
    }

    function withdraw(uint8 who) external {
        (uint128 announced, uint40 availableAt) = ESCROW.withdrawals(account(who));
        vm.prank(account(who));
        uint256 amount = ESCROW.withdraw();
        if (amount > announced || block.timestamp < availableAt) broken = "a withdrawal too large or too early";
        withdrawn += amount;
    }

    function govern(uint24 delay, uint16 window, uint8 sync) external {
        vm.prank(ADMIN);
        ESCROW.setWithdrawalDelay(uint40(delay) % 2 days);
        vm.prank(ADMIN);
        LOG.setWindow(window);
        LOG.sync(node(sync));
    }

    function pass(uint24 time) external {
        vm.warp(block.timestamp + time % 2 days);
    }

    function _locked() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 4; ++i) {
            for (uint256 j = 0; j < 2; ++j) {
                (uint128 amount,) = ESCROW.locks(account(i), node(j));
                sum += amount;
            }
        }
    }

    function _window(address who) private view returns (uint40 window) {
        (,, window,) = LOG.nodes(who);
    }

    function _key(uint256 seed) private pure returns (uint256) {
        return 0x3A2 + seed % 4;
    }

    /// The batch that `seed` says or, three times in four, the first from there that can be settled.
    function _batch(uint256 seed) private view returns (Batch storage b) {
        b = _batches[seed % _batches.length];
        if (seed % 4 == 0) return b;
        for (uint256 i = 0; i < _batches.length; ++i) {
            Batch storage next = _batches[(seed + i) % _batches.length];
            if (!next.settled && LOG.isFinal(next.node, next.root)) return next;
        }
    }

    function _give(address to, uint256 amount) private {
        vm.prank(TREASURY);
        TOKEN.transfer(to, amount);
    }

    function _sign(uint8 who, bytes32 kind, address to, uint256 amount, bytes32 nonce)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        Authorization.Terms memory terms =
            Authorization.Terms(account(who), to, amount, 0, type(uint256).max, nonce);
        return vm.sign(_key(who), Authorization.digest(address(TOKEN), kind, terms));
    }
}
