// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {FeePolicy} from "../../src/payments/FeePolicy.sol";
import {World} from "./World.sol";

contract FeePolicyTest is World {
    function set(uint16 platform, uint16 model, uint16 stakers, uint16 contributors) private {
        vm.prank(ADMIN_ACCOUNT);
        fees.setSplit(FeePolicy.Split(platform, model, stakers, contributors));
    }

    function test_the_worked_example_pays_an_eighth_of_an_open() public view {
        (uint256 platform, uint256 model, uint256 stakers, uint256 contributors) = fees.divide(fees.epoch(), 1 ether);
        assertEq(platform, 0.1 ether, "platform");
        assertEq(model, 0.2 ether, "model");
        assertEq(stakers, 0.2 ether, "stakers");
        assertEq(contributors / 4, 0.125 ether, "a contributor with 25 % influence");
    }

    function test_a_change_counts_from_the_next_epoch_on() public {
        uint64 epoch = fees.epoch();
        assertEq(fees.version(), 1, "first version");
        set(0, 0, 0, 10_000);
        assertEq(fees.version(), 2, "second version");
        assertEq(fees.epochFrom(), epoch + 1, "from the next epoch");
        (uint16 platform,,,) = fees.split();
        assertEq(platform, 1_000, "still the old split");
        vm.warp(uint256(epoch + 1) * 1 days - 1);
        (platform,,,) = fees.split();
        assertEq(platform, 1_000, "to the last second");
        vm.warp(uint256(epoch + 1) * 1 days);
        uint16 model;
        uint16 stakers;
        uint16 contributors;
        (platform, model, stakers, contributors) = fees.split();
        assertEq(platform, 0, "the new split");
        assertEq(contributors, 10_000, "the new split");
        assertEq(fees.policyAt(epoch).split.platform, 1_000, "the past stays");
    }

    function test_accounts_change_from_the_next_epoch_on() public {
        vm.prank(ADMIN_ACCOUNT);
        fees.setAccounts(address(1), address(2));
        assertEq(fees.treasury(), TREASURY, "old treasury");
        assertEq(fees.stakingPool(), address(0x5A), "old pool");
        later(1 days);
        assertEq(fees.treasury(), address(1), "new treasury");
        assertEq(fees.stakingPool(), address(2), "new pool");
    }

    function test_two_changes_in_an_epoch_both_count() public {
        set(0, 0, 0, 10_000);
        vm.prank(ADMIN_ACCOUNT);
        fees.setAccounts(address(1), address(2));
        later(1 days);
        (,,, uint16 contributors) = fees.split();
        assertEq(contributors, 10_000, "split");
        assertEq(fees.treasury(), address(1), "treasury");
        assertEq(fees.policy(2).treasury, TREASURY, "version two keeps the treasury");
    }

    function test_a_split_must_be_whole() public {
        vm.expectRevert(abi.encodeWithSelector(FeePolicy.SplitNotWhole.selector, 9_999));
        set(1, 1, 1, 9_996);
        vm.expectRevert(abi.encodeWithSelector(FeePolicy.SplitNotWhole.selector, 10_001));
        set(1, 1, 1, 9_998);
    }

    function test_accounts_must_not_be_empty() public {
        vm.startPrank(ADMIN_ACCOUNT);
        vm.expectRevert(FeePolicy.AccountEmpty.selector);
        fees.setAccounts(address(0), address(1));
        vm.expectRevert(FeePolicy.AccountEmpty.selector);
        fees.setAccounts(address(1), address(0));
    }

    function test_there_is_no_policy_before_the_first_and_after_the_last() public {
        uint64 epoch = fees.epoch();
        vm.expectRevert(abi.encodeWithSelector(FeePolicy.EpochTooEarly.selector, epoch - 1, epoch));
        fees.policyAt(epoch - 1);
        vm.expectRevert(abi.encodeWithSelector(FeePolicy.VersionUnknown.selector, 0));
        fees.policy(0);
        vm.expectRevert(abi.encodeWithSelector(FeePolicy.VersionUnknown.selector, 2));
        fees.policy(2);
    }

    /// The same rule computed another way: a party gets its unit if fewer than `left` parties have a
    /// larger fraction, or an equal one and an earlier place.
    function testFuzz_a_fee_is_divided_to_the_unit(uint256 fee, uint16 a, uint16 b, uint16 c) public {
        a = uint16(bound(a, 0, 10_000));
        b = uint16(bound(b, 0, 10_000 - a));
        c = uint16(bound(c, 0, 10_000 - a - b));
        fee = bound(fee, 0, type(uint256).max / 10_000);
        set(a, b, c, 10_000 - a - b - c);
        uint256[4] memory weights = [uint256(a), b, c, 10_000 - uint256(a) - b - c];
        uint256[4] memory parts;
        (parts[0], parts[1], parts[2], parts[3]) = fees.divide(fees.epoch() + 1, fee);
        assertEq(parts[0] + parts[1] + parts[2] + parts[3], fee, "nothing lost");
        uint256 left = fee;
        for (uint256 i = 0; i < 4; ++i) {
            left -= fee * weights[i] / 10_000;
        }
        for (uint256 i = 0; i < 4; ++i) {
            uint256 ahead;
            uint256 fraction = fee * weights[i] % 10_000;
            for (uint256 j = 0; j < 4; ++j) {
                uint256 other = fee * weights[j] % 10_000;
                if (other > fraction || (other == fraction && j < i)) ++ahead;
            }
            assertEq(parts[i], fee * weights[i] / 10_000 + (ahead < left ? 1 : 0), "part");
        }
    }

    function testFuzz_the_largest_fees_are_divided_too(uint256 fee) public view {
        fee = bound(fee, type(uint256).max / 10_000, type(uint256).max);
        (uint256 a, uint256 b, uint256 c, uint256 d) = fees.divide(fees.epoch(), fee);
        assertEq(a + b + c + d, fee, "nothing lost");
    }
}
