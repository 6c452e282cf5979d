// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {GovernanceOpen} from "../../src/tokens/GovernanceOpen.sol";
import {Test} from "../Test.sol";

contract GovernanceOpenTest is Test {
    uint256 private constant KEY = 0xA11CE;
    uint256 private constant NOW = 1_800_000_000;
    address private immutable HOLDER = vm.addr(KEY);
    GovernanceOpen private token;

    function setUp() public {
        vm.warp(NOW);
        token = new GovernanceOpen();
        vm.deal(HOLDER, 1_000);
    }

    function test_coins_are_wrapped_one_for_one_in_three_ways() public {
        vm.startPrank(HOLDER);
        token.deposit{value: 1}();
        token.depositFor{value: 10}(HOLDER);
        (bool done,) = address(token).call{value: 100}("");
        assertTrue(done, "taken");
        assertEq(token.balanceOf(HOLDER), 111, "wrapped");
        token.depositFor{value: 5}(address(1));
        assertEq(token.balanceOf(address(1)), 5, "for another");
        assertEq(address(token).balance, token.totalSupply(), "backed");
    }

    function test_votes_count_by_the_second_and_only_when_delegated() public {
        vm.startPrank(HOLDER);
        token.deposit{value: 100}();
        assertEq(token.getVotes(HOLDER), 0, "not delegated");
        token.delegate(HOLDER);
        assertEq(token.getVotes(HOLDER), 100, "delegated");
        vm.warp(NOW + 1);
        token.withdraw(40);
        vm.warp(NOW + 2);
        assertEq(token.getPastVotes(HOLDER, NOW), 100, "then");
        assertEq(token.getPastVotes(HOLDER, NOW + 1), 60, "a second later");
        assertEq(token.clock(), NOW + 2, "clock");
        assertEq(keccak256(bytes(token.CLOCK_MODE())), keccak256("mode=timestamp"), "mode");
        assertEq(HOLDER.balance, 940, "the coins");
    }

    function test_nobody_unwraps_more_than_it_has() public {
        vm.expectRevert(abi.encodeWithSignature("ERC20InsufficientBalance(address,uint256,uint256)", HOLDER, 0, 1));
        vm.prank(HOLDER);
        token.withdraw(1);
    }

    function test_a_permit_spends_a_nonce() public {
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 message = keccak256(abi.encode(typehash, HOLDER, address(1), 7, token.nonces(HOLDER), NOW));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), message));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest);
        token.permit(HOLDER, address(1), 7, NOW, v, r, s);
        assertEq(token.allowance(HOLDER, address(1)), 7, "allowed");
        assertEq(token.nonces(HOLDER), 1, "spent");
    }
}
