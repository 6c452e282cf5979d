// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {WrappedOpen} from "../../src/tokens/WrappedOpen.sol";
import {SignedTest} from "./Signed.sol";

contract WrappedOpenTest is SignedTest {
    WrappedOpen private token;

    function setUp() public {
        vm.warp(NOW);
        token = new WrappedOpen();
        vm.deal(HOLDER, 1_000);
        vm.prank(HOLDER);
        token.deposit{value: 100}();
    }

    function signed() internal view override returns (ERC3009) {
        return token;
    }

    function test_coins_sent_are_wrapped() public {
        vm.prank(HOLDER);
        (bool done,) = address(token).call{value: 11}("");
        assertTrue(done, "taken");
        assertEq(token.balanceOf(HOLDER), 111, "wrapped");
    }

    function testFuzz_wrapping_and_unwrapping_is_one_for_one(uint256 in_, uint256 out) public {
        in_ = bound(in_, 0, 900);
        out = bound(out, 0, in_ + 100);
        vm.startPrank(HOLDER);
        token.deposit{value: in_}();
        token.withdraw(out);
        assertEq(token.totalSupply(), 100 + in_ - out, "supply");
        assertEq(address(token).balance, token.totalSupply(), "backed");
        assertEq(HOLDER.balance, 900 - in_ + out, "the coins");
    }

    function test_nobody_unwraps_more_than_it_has() public {
        vm.prank(HOLDER);
        vm.expectRevert(
            abi.encodeWithSignature("ERC20InsufficientBalance(address,uint256,uint256)", HOLDER, 100, 101)
        );
        token.withdraw(101);
    }

    /// This contract takes no coins.
    function test_what_cannot_be_paid_out_stays_wrapped() public {
        vm.prank(HOLDER);
        token.transfer(address(this), 10);
        vm.expectRevert();
        token.withdraw(10);
        assertEq(token.balanceOf(address(this)), 10, "still wrapped");
    }
}
