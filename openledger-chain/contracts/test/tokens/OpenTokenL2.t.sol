// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {OpenTokenL2} from "../../src/tokens/OpenTokenL2.sol";
import {SignedTest} from "./Signed.sol";

contract OpenTokenL2Test is SignedTest {
    address private constant BRIDGE = address(0x4200000000000000000000000000000000000010);
    address private constant MESH = address(0x3E5);
    address private constant REMOTE = address(0x11);
    OpenTokenL2 private token;

    event Mint(address indexed account, uint256 amount);
    event Burn(address indexed account, uint256 amount);

    function setUp() public {
        vm.warp(NOW);
        token = new OpenTokenL2(BRIDGE, REMOTE, MESH);
        vm.prank(BRIDGE);
        token.mint(HOLDER, 100);
    }

    function signed() internal view override returns (ERC3009) {
        return token;
    }

    function test_the_standard_bridge_finds_what_it_asks_for() public view {
        assertTrue(token.supportsInterface(0xec4fc8e3), "IOptimismMintableERC20");
        assertTrue(token.supportsInterface(type(IERC7802).interfaceId), "ERC-7802");
        assertTrue(token.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        assertFalse(token.supportsInterface(0xffffffff), "nothing else");
        assertEq(token.bridge(), BRIDGE, "bridge");
        assertEq(token.remoteToken(), REMOTE, "remote token");
    }

    function test_each_bridge_mints_and_burns_by_its_own_functions() public {
        vm.startPrank(BRIDGE);
        vm.expectEmit(address(token));
        emit Mint(PAYEE, 5);
        token.mint(PAYEE, 5);
        vm.expectEmit(address(token));
        emit Burn(PAYEE, 2);
        token.burn(PAYEE, 2);
        vm.stopPrank();
        vm.startPrank(MESH);
        token.crosschainMint(PAYEE, 10);
        token.crosschainBurn(PAYEE, 4);
        vm.stopPrank();
        assertEq(token.balanceOf(PAYEE), 9, "balance");
        assertEq(token.totalSupply(), 109, "supply");
    }

    function testFuzz_nobody_else_mints_or_burns(address caller) public {
        bytes memory refused = abi.encodeWithSelector(OpenTokenL2.NotBridge.selector, caller);
        vm.startPrank(caller);
        if (caller != BRIDGE) {
            vm.expectRevert(refused);
            token.mint(caller, 1);
            vm.expectRevert(refused);
            token.burn(HOLDER, 1);
        }
        if (caller != MESH) {
            vm.expectRevert(refused);
            token.crosschainMint(caller, 1);
            vm.expectRevert(refused);
            token.crosschainBurn(HOLDER, 1);
        }
    }

    function test_the_bridges_do_not_take_each_others_place() public {
        testFuzz_nobody_else_mints_or_burns(BRIDGE);
        vm.stopPrank();
        testFuzz_nobody_else_mints_or_burns(MESH);
    }

    function test_votes_count_by_the_second() public {
        vm.prank(HOLDER);
        token.delegate(HOLDER);
        vm.warp(NOW + 1);
        assertEq(token.getPastVotes(HOLDER, NOW), 100, "votes");
        assertEq(token.clock(), NOW + 1, "clock");
        assertEq(keccak256(bytes(token.CLOCK_MODE())), keccak256("mode=timestamp"), "mode");
    }
}
