// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Roles} from "../../src/access/Roles.sol";
import {AttributionLog} from "../../src/payments/AttributionLog.sol";
import {FeePolicy} from "../../src/payments/FeePolicy.sol";
import {InferenceEscrow} from "../../src/payments/InferenceEscrow.sol";
import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {Tree} from "./Tree.sol";

/// All payment contracts, wired as in a deployment, and somebody for each role.
abstract contract World is Test {
    uint64 internal constant GUARDIAN = 1;
    uint64 internal constant UPDATER = 2;
    uint64 internal constant DISPUTES = 3;
    uint40 internal constant START = 1_800_000_000;
    uint40 internal constant WINDOW = 1 days;
    uint40 internal constant DELAY = 1 hours;
    uint256 internal constant PAYER_KEY = 0xA11CE;

    address internal immutable ADMIN_ACCOUNT = address(0xAD);
    address internal immutable GUARDIAN_ACCOUNT = address(0x60);
    address internal immutable UPDATER_ACCOUNT = address(0x0D);
    address internal immutable DISPUTES_ACCOUNT = address(0xD1);
    address internal immutable TREASURY = address(0x77);
    address internal immutable NODE = address(0x4E0DE);
    address internal immutable STRANGER = address(0x57);
    address internal immutable PAYER = vm.addr(PAYER_KEY);

    Roles internal roles;
    OpenToken internal token;
    AttributionLog internal batches;
    RewardDistributor internal distributor;
    InferenceEscrow internal escrow;
    FeePolicy internal fees;

    function setUp() public virtual {
        vm.warp(START);
        roles = new Roles(ADMIN_ACCOUNT);
        token = new OpenToken(TREASURY);
        batches = new AttributionLog(address(roles));
        distributor = new RewardDistributor(address(roles), token, DELAY);
        escrow = new InferenceEscrow(token, batches, distributor, DELAY, address(roles));
        fees = new FeePolicy(address(roles), TREASURY, address(0x5A));
        vm.startPrank(ADMIN_ACCOUNT);
        roles.grantRole(GUARDIAN, GUARDIAN_ACCOUNT, 0);
        roles.grantRole(UPDATER, UPDATER_ACCOUNT, 0);
        roles.grantRole(DISPUTES, DISPUTES_ACCOUNT, 0);
        _allow(address(batches), batches.pause.selector, GUARDIAN);
        _allow(address(distributor), distributor.pause.selector, GUARDIAN);
        _allow(address(escrow), escrow.pause.selector, GUARDIAN);
        _allow(address(distributor), distributor.veto.selector, GUARDIAN);
        _allow(address(distributor), distributor.submitRoot.selector, UPDATER);
        _allow(address(batches), batches.hold.selector, DISPUTES);
        _allow(address(batches), batches.release.selector, DISPUTES);
        _allow(address(batches), batches.reject.selector, DISPUTES);
        batches.admit(NODE);
        vm.stopPrank();
    }

    function give(address account, uint256 amount) internal {
        vm.prank(TREASURY);
        token.transfer(account, amount);
    }

    /// `payer` has `amount` in the escrow.
    function deposit(address payer, uint256 amount) internal {
        give(payer, amount);
        vm.startPrank(payer);
        token.approve(address(escrow), amount);
        escrow.deposit(amount);
        vm.stopPrank();
    }

    /// The distributor has `amount` more to pay with.
    function fund(uint256 amount) internal {
        give(TREASURY, amount);
        vm.startPrank(TREASURY);
        token.approve(address(distributor), amount);
        distributor.fund(amount);
        vm.stopPrank();
    }

    function logBatch(bytes32 root) internal {
        vm.prank(NODE);
        batches.log(1, bytes32("model"), root, bytes32("body"), 3);
    }

    function submit(bytes32 root, uint128 total) internal returns (uint256) {
        vm.prank(UPDATER_ACCOUNT);
        return distributor.submitRoot(root, bytes32("body"), total);
    }

    function leaf(address account, uint256 cumulative) internal view returns (bytes32) {
        return Tree.leaf(block.chainid, address(distributor), account, address(token), cumulative);
    }

    function denied(address caller) internal pure returns (bytes memory) {
        return abi.encodeWithSignature("AccessManagedUnauthorized(address)", caller);
    }

    function later(uint40 passed) internal {
        vm.warp(block.timestamp + passed);
    }

    function _allow(address target, bytes4 selector, uint64 role) private {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        roles.setTargetFunctionRole(target, selectors, role);
    }
}
