// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {SignedTest} from "./Signed.sol";

contract OpenTokenTest is SignedTest {
    OpenToken private token;

    function setUp() public {
        vm.warp(NOW);
        token = new OpenToken(HOLDER);
    }

    function signed() internal view override returns (ERC3009) {
        return token;
    }

    function test_a_billion_goes_to_the_treasury() public view {
        assertEq(token.totalSupply(), 1e27, "supply");
        assertEq(token.balanceOf(HOLDER), 1e27, "treasury");
        assertEq(token.decimals(), 18, "decimals");
    }

    function testFuzz_what_is_burned_is_gone(uint256 amount) public {
        amount = bound(amount, 0, 1e27);
        vm.prank(HOLDER);
        token.burn(amount);
        assertEq(token.totalSupply(), 1e27 - amount, "supply");
    }
}
