// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Roles} from "../../src/access/Roles.sol";
import {Role} from "../../src/staking/Role.sol";
import {Staking} from "../../src/staking/Staking.sol";
import {Exit} from "../../src/staking/Vault.sol";
import {Test} from "../Test.sol";

/// A token that anybody can have.
contract Coin is ERC20("Coin", "COIN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// Staking with the test as its governance, and three people with money.
abstract contract StakingBase is Test {
    uint64 internal constant DISPUTES = 3;
    uint64 internal constant GUARDIAN = 1;
    address internal constant INSURANCE = address(0x1115);
    address internal constant GUARD = address(0x6A4D);
    address internal constant ALICE = address(0xA11CE);
    address internal constant BOB = address(0xB0B);
    address internal constant CAROL = address(0xCA401);
    address internal constant NODE = address(0x90DE);

    Coin internal coin;
    Roles internal roles;
    Staking internal staking;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        coin = new Coin();
        roles = new Roles(address(this));
        staking = new Staking(coin, address(roles), INSURANCE);
        _assign(address(staking), Staking.proposeSlash.selector, DISPUTES);
        _assign(address(staking), Staking.addPenalty.selector, DISPUTES);
        _assign(address(staking), Staking.vetoSlash.selector, GUARDIAN);
        _assign(address(staking), bytes4(keccak256("pause(uint128)")), GUARDIAN);
        roles.grantRole(DISPUTES, address(this), 0);
        roles.grantRole(GUARDIAN, GUARD, 0);
        _rich(ALICE);
        _rich(BOB);
        _rich(CAROL);
        _rich(address(this));
    }

    function _assign(address target, bytes4 selector, uint64 role) internal {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = selector;
        roles.setTargetFunctionRole(target, selectors, role);
    }

    function _rich(address who) internal {
        coin.mint(who, 1e27);
        vm.prank(who);
        coin.approve(address(staking), type(uint256).max);
    }

    function _stake(address who, Role role, address operator, uint128 amount) internal returns (uint256) {
        vm.prank(who);
        return staking.stake(role, operator, amount);
    }

    function _unbond(address who, Role role, address operator, uint256 shares) internal returns (uint256, uint256) {
        vm.prank(who);
        return staking.unbond(role, operator, uint128(shares));
    }

    function _sharesOf(address who, Role role, address operator) internal view returns (uint128 shares) {
        (shares,) = staking.positions(role, operator, who);
    }

    function _skip(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    function assertNear(uint256 left, uint256 right, uint256 margin, string memory what) internal pure {
        uint256 gap = left > right ? left - right : right - left;
        if (gap > margin) revert Unequal(what, left, right);
    }
}
