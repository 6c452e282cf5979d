// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pausing} from "../../src/access/Pausing.sol";
import {Role} from "../../src/staking/Role.sol";
import {Staking} from "../../src/staking/Staking.sol";
import {Exit, SlashStatus, Vault} from "../../src/staking/Vault.sol";
import {StakingBase} from "./StakingBase.sol";

contract StakingTest is StakingBase {
    Role private constant V = Role.Validator;

    // Staking.

    function test_a_stake_is_worth_what_was_put_in() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        assertEq(shares, 100 ether * 1000, "shares");
        assertEq(staking.stakeOf(V, NODE), 100 ether, "vault");
        assertEq(staking.assetsOf(V, NODE, ALICE), 100 ether, "position");
        assertEq(staking.totalStake(V), 100 ether, "role");
        assertEq(coin.balanceOf(address(staking)), 100 ether, "tokens");
        assertEq(staking.stakeOf(Role.Agent, NODE), 0, "another role");
    }

    function test_delegations_share_by_amount() public {
        _stake(ALICE, V, NODE, 100 ether);
        _stake(BOB, V, NODE, 300 ether);
        assertEq(staking.assetsOf(V, NODE, ALICE), 100 ether, "alice");
        assertEq(staking.assetsOf(V, NODE, BOB), 300 ether, "bob");
    }

    function test_nothing_cannot_be_staked() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountTooSmall.selector, 0));
        _stake(ALICE, V, NODE, 0);
    }

    function test_caps_bound_stakes_of_role_and_operator() public {
        staking.setCaps(V, 100 ether, 60 ether);
        _stake(ALICE, V, NODE, 60 ether);
        vm.expectRevert(
            abi.encodeWithSelector(Staking.OperatorCapExceeded.selector, V, NODE, 60 ether + 1, 60 ether)
        );
        _stake(ALICE, V, NODE, 1);
        vm.expectRevert(abi.encodeWithSelector(Staking.RoleCapExceeded.selector, V, 101 ether, 100 ether));
        _stake(ALICE, V, BOB, 41 ether);
        _stake(ALICE, V, BOB, 40 ether);
        _stake(ALICE, Role.Agent, NODE, 200 ether);
    }

    function test_the_lock_holds_the_stake_and_a_later_stake_renews_it() public {
        uint256 shares = _stake(ALICE, V, NODE, 10 ether);
        uint40 until = uint40(block.timestamp + 7 days);
        _skip(7 days - 1);
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeLocked.selector, until));
        _unbond(ALICE, V, NODE, shares);
        _stake(BOB, V, NODE, 1 ether);
        _skip(1);
        _unbond(ALICE, V, NODE, shares / 2);
        _stake(ALICE, V, NODE, 1 ether);
        until = uint40(block.timestamp + 7 days);
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeLocked.selector, until));
        _unbond(ALICE, V, NODE, 1);
    }

    function test_a_shorter_lock_does_not_free_what_is_locked() public {
        uint256 shares = _stake(ALICE, V, NODE, 10 ether);
        uint40 until = uint40(block.timestamp + 7 days);
        staking.setTerms(V, 0, 1 days);
        _stake(ALICE, V, NODE, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeLocked.selector, until));
        _unbond(ALICE, V, NODE, shares);
    }

    // Leaving.

    function test_exits_wait_for_their_own_cooldown() public {
        uint256 shares = _stake(ALICE, V, NODE, 10 ether);
        _skip(7 days);
        (uint256 first, uint256 amount) = _unbond(ALICE, V, NODE, shares / 2);
        assertEq(amount, 5 ether, "half");
        uint40 firstAt = uint40(block.timestamp + 28 days);
        staking.setTerms(V, 0, 2 days);
        _skip(1 days);
        (uint256 second,) = _unbond(ALICE, V, NODE, shares / 2);
        assertEq(staking.queuedOf(V, NODE), 10 ether, "queue");
        assertEq(staking.stakeOf(V, NODE), 0, "active");
        assertEq(staking.slashableOf(V, NODE), 10 ether, "slashable");
        assertEq(staking.exitsOf(V, NODE, ALICE).length, 2, "exits");
        _skip(2 days);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Staking.CooldownRunning.selector, firstAt));
        staking.withdraw(V, NODE, first);
        uint256 before = coin.balanceOf(ALICE);
        vm.prank(ALICE);
        staking.withdraw(V, NODE, second);
        _skip(25 days);
        vm.prank(ALICE);
        staking.withdraw(V, NODE, first);
        assertEq(coin.balanceOf(ALICE) - before, 10 ether, "all back");
        assertEq(staking.queuedOf(V, NODE), 0, "queue empty");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Staking.ExitDone.selector, first));
        staking.withdraw(V, NODE, first);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Staking.ExitUnknown.selector, 2));
        staking.withdraw(V, NODE, 2);
    }

    function test_nobody_unbonds_more_than_they_have() public {
        uint256 shares = _stake(ALICE, V, NODE, 10 ether);
        _stake(BOB, V, NODE, 10 ether);
        _skip(7 days);
        vm.expectRevert(abi.encodeWithSelector(Staking.SharesTooFew.selector, ALICE, shares, shares + 1));
        _unbond(ALICE, V, NODE, shares + 1);
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountTooSmall.selector, 0));
        _unbond(ALICE, V, NODE, 1);
    }

    // Growing.

    function test_a_year_at_ten_percent_grows_by_e_to_the_tenth() public {
        staking.setRate(V, 0.1e18);
        staking.fundRewards(V, 1_000 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _skip(365 days);
        // e^0.1, from a table.
        assertNear(staking.stakeOf(V, NODE), 110.517091807564762481 ether, 100, "e^0.1");
        staking.accrue(V, NODE);
        assertNear(staking.stakeOf(V, NODE), 110.517091807564762481 ether, 100, "written down");
        assertNear(staking.reserveOf(V), 1_000 ether - 10.517091807564762481 ether, 100, "paid by the reserve");
    }

    function test_a_rate_counts_from_its_change_on() public {
        staking.fundRewards(V, 1_000 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _skip(365 days);
        staking.setRate(V, 0.1e18);
        assertEq(staking.stakeOf(V, NODE), 100 ether, "not back");
        _skip(365 days);
        staking.setRate(V, 0.5e18);
        assertNear(staking.stakeOf(V, NODE), 110.517091807564762481 ether, 100, "the first rate");
        staking.setRate(V, 0);
        _skip(365 days);
        assertNear(staking.stakeOf(V, NODE), 110.517091807564762481 ether, 100, "no rate");
    }

    function test_a_short_reserve_pays_what_is_there_to_all_alike() public {
        staking.setRate(V, 1e18);
        staking.fundRewards(V, 10 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _stake(BOB, V, BOB, 300 ether);
        _skip(365 days);
        staking.accrue(V, NODE);
        assertNear(staking.stakeOf(V, NODE), 102.5 ether, 2, "a quarter");
        assertNear(staking.stakeOf(V, BOB), 307.5 ether, 2, "the rest");
        assertEq(staking.reserveOf(V), 0, "empty");
        _skip(365 days);
        staking.fundRewards(V, 1_000 ether);
        assertNear(staking.stakeOf(V, NODE), 102.5 ether, 2, "not owed later");
    }

    function test_time_without_stake_costs_nothing() public {
        staking.setRate(V, 1e18);
        staking.fundRewards(V, 1_000 ether);
        _skip(3 * 365 days);
        _stake(ALICE, V, NODE, 100 ether);
        assertEq(staking.stakeOf(V, NODE), 100 ether, "starts now");
        assertEq(staking.reserveOf(V), 1_000 ether, "untouched");
    }

    function test_a_newcomer_takes_nothing_of_earlier_growth() public {
        staking.setRate(V, 0.5e18);
        staking.fundRewards(V, 1_000 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _skip(200 days);
        uint256 before = staking.assetsOf(V, NODE, ALICE);
        _stake(BOB, V, NODE, 1_000 ether);
        assertNear(staking.assetsOf(V, NODE, ALICE), before, 2, "alice");
        assertNear(staking.assetsOf(V, NODE, BOB), 1_000 ether, 2, "bob");
        assertLe(staking.assetsOf(V, NODE, BOB), 1_000 ether, "never more");
    }

    function test_centuries_do_not_hold_an_exit() public {
        staking.setRate(V, 1e18);
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _skip(1_000 * 365 days);
        (, uint256 amount) = _unbond(ALICE, V, NODE, shares);
        assertEq(amount, 100 ether, "no reserve, no growth");
    }

    function test_nothing_cannot_be_funded() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountTooSmall.selector, 0));
        staking.fundRewards(V, 0);
    }

    // Penalties.

    function test_a_penalty_over_the_threshold_cuts_the_rate_from_then_on() public {
        staking.setRate(V, 0.2e18);
        staking.fundRewards(V, 1_000 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _stake(BOB, V, BOB, 100 ether);
        staking.addPenalty(V, NODE, 99);
        _skip(182.5 days);
        // e^0.1.
        assertNear(staking.stakeOf(V, NODE), 110.517091807564762481 ether, 200, "whole below the threshold");
        staking.addPenalty(V, NODE, 1);
        _skip(365 days);
        // e^0.1 * e^(0.2 / 2), and e^0.3 for the other.
        assertNear(staking.stakeOf(V, NODE), 122.140275816016983392 ether, 1_000, "half the rate");
        assertNear(staking.stakeOf(V, BOB), 134.985880757600310398 ether, 200, "others as before");
        staking.accrue(V, NODE);
        assertNear(staking.stakeOf(V, NODE), 122.140275816016983392 ether, 1_000, "written down");
        assertNear(
            staking.reserveOf(V), 1_000 ether - 57.126156573617293790 ether, 1_000, "the cut went back to the reserve"
        );
        staking.forgive(V, NODE, 1);
        uint256 now_ = staking.stakeOf(V, NODE);
        _skip(182.5 days);
        assertNear(staking.stakeOf(V, NODE), now_ * 1.105170918075647624e18 / 1e18, 1_000, "whole again");
    }

    function test_penalties_saturate_and_forgiving_stops_at_zero() public {
        staking.addPenalty(V, NODE, type(uint64).max);
        staking.addPenalty(V, NODE, 5);
        assertEq(staking.vaultOf(V, NODE).penalty, type(uint64).max, "saturates");
        staking.forgive(V, NODE, 5);
        assertEq(staking.vaultOf(V, NODE).penalty, type(uint64).max - 5, "less");
        staking.forgive(V, NODE, type(uint64).max);
        assertEq(staking.vaultOf(V, NODE).penalty, 0, "zero");
        assertEq(staking.vaultOf(V, NODE).cut, 0, "no cut");
    }

    function test_a_new_rule_does_not_reach_standing_penalties() public {
        staking.addPenalty(V, NODE, 100);
        staking.setPenaltyRule(1_000, 10_000);
        assertEq(staking.vaultOf(V, NODE).cut, 5_000, "as it was judged");
        staking.addPenalty(V, NODE, 1);
        assertEq(staking.vaultOf(V, NODE).cut, 0, "judged anew");
    }

    // Slashing.

    function test_a_slash_takes_the_same_part_of_stake_and_queue() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _stake(BOB, V, NODE, 100 ether);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares / 2);
        uint256 id = staking.proposeSlash(V, NODE, 1_000, "why");
        _skip(2 days);
        (uint256 fromActive, uint256 fromQueue) = staking.executeSlash(id);
        assertEq(fromActive, 15 ether, "active");
        assertEq(fromQueue, 5 ether, "queue");
        assertEq(coin.balanceOf(INSURANCE), 20 ether, "insured");
        assertNear(staking.assetsOf(V, NODE, ALICE), 45 ether, 2, "alice active");
        assertNear(staking.assetsOf(V, NODE, BOB), 90 ether, 2, "bob");
        _skip(28 days);
        vm.prank(ALICE);
        assertEq(staking.withdraw(V, NODE, 0), 45 ether, "alice leaving");
        vm.expectRevert(abi.encodeWithSelector(Staking.SlashDecided.selector, id, SlashStatus.Executed));
        staking.executeSlash(id);
    }

    function test_exits_after_a_slash_do_not_pay_for_it() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        uint256 bobs = _stake(BOB, V, NODE, 100 ether);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares);
        uint256 id = staking.proposeSlash(V, NODE, 5_000, "why");
        _skip(2 days);
        staking.executeSlash(id);
        (, uint256 amount) = _unbond(BOB, V, NODE, bobs);
        assertNear(amount, 50 ether, 1, "bob lost half once");
        _skip(28 days);
        vm.prank(BOB);
        assertNear(staking.withdraw(V, NODE, 0), amount, 1, "bob");
        vm.prank(ALICE);
        assertNear(staking.withdraw(V, NODE, 0), 50 ether, 1, "alice");
    }

    function test_nobody_leaves_while_a_slash_waits() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares);
        _skip(28 days);
        uint256 id = staking.proposeSlash(V, NODE, 10_000, "why");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Staking.SlashPending.selector, V, NODE));
        staking.withdraw(V, NODE, 0);
        vm.prank(GUARD);
        staking.vetoSlash(id);
        vm.prank(ALICE);
        assertEq(staking.withdraw(V, NODE, 0), 100 ether, "whole");
        vm.prank(GUARD);
        vm.expectRevert(abi.encodeWithSelector(Staking.SlashDecided.selector, id, SlashStatus.Vetoed));
        staking.vetoSlash(id);
    }

    function test_a_slash_waits_for_the_delay_it_was_proposed_with() public {
        _stake(ALICE, V, NODE, 100 ether);
        uint256 id = staking.proposeSlash(V, NODE, 100, "why");
        uint40 executableAt = uint40(block.timestamp + 2 days);
        staking.setSlashDelay(0);
        vm.expectRevert(abi.encodeWithSelector(Staking.SlashTooEarly.selector, id, executableAt));
        staking.executeSlash(id);
        uint256 quick = staking.proposeSlash(V, NODE, 100, "why");
        staking.executeSlash(quick);
        assertEq(staking.slashCount(), 2, "two");
    }

    function test_a_queue_slashed_whole_closes_its_vault_until_it_is_empty() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _skip(7 days);
        (uint256 exit,) = _unbond(ALICE, V, NODE, shares);
        uint256 id = staking.proposeSlash(V, NODE, 10_000, "why");
        _skip(28 days);
        staking.executeSlash(id);
        assertEq(coin.balanceOf(INSURANCE), 100 ether, "all of it");
        vm.expectRevert(abi.encodeWithSelector(Staking.VaultClosed.selector, V, NODE));
        this.stakeAsBob(100 ether);
        vm.prank(ALICE);
        assertEq(staking.withdraw(V, NODE, exit), 0, "nothing left");
        shares = _stake(BOB, V, NODE, 100 ether);
        _skip(7 days);
        (, uint256 amount) = _unbond(BOB, V, NODE, shares);
        assertEq(amount, 100 ether, "bob leaves with what he brought");
    }

    function test_a_vault_slashed_whole_is_closed() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _skip(7 days);
        uint256 id = staking.proposeSlash(V, NODE, 10_000, "why");
        _skip(2 days);
        staking.executeSlash(id);
        assertEq(staking.stakeOf(V, NODE), 0, "nothing left");
        assertEq(coin.balanceOf(INSURANCE), 100 ether, "all of it");
        vm.expectRevert(abi.encodeWithSelector(Staking.VaultClosed.selector, V, NODE));
        _stake(BOB, V, NODE, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountTooSmall.selector, 0));
        _unbond(ALICE, V, NODE, shares);
    }

    function test_slashes_are_of_known_parts() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.BpsOutOfRange.selector, 0));
        staking.proposeSlash(V, NODE, 0, "why");
        vm.expectRevert(abi.encodeWithSelector(Staking.BpsOutOfRange.selector, 10_001));
        staking.proposeSlash(V, NODE, 10_001, "why");
        vm.expectRevert(abi.encodeWithSelector(Staking.SlashUnknown.selector, 0));
        staking.executeSlash(0);
    }

    function test_shares_of_a_vault_slashed_again_and_again_overflow_no_exit() public {
        uint256 shares = _stake(ALICE, V, NODE, 1e26);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares / 2);
        staking.setSlashDelay(0);
        for (uint256 i = 0; i < 20; ++i) {
            staking.executeSlash(staking.proposeSlash(V, NODE, 9_000, "why"));
            if (staking.assetsOf(V, NODE, ALICE) == 0) break;
            // A new stake is refused when shares no longer fit; leaving is not.
            try this.stakeAsBob(1e26) {} catch {}
            _unbond(ALICE, V, NODE, _sharesOf(ALICE, V, NODE) / 2);
        }
        _skip(28 days);
        vm.prank(ALICE);
        staking.withdraw(V, NODE, 0);
    }

    function stakeAsBob(uint128 amount) external {
        _stake(BOB, V, NODE, amount);
    }

    function test_a_stake_whose_shares_do_not_fit_is_refused() public {
        staking.setSlashDelay(0);
        _stake(ALICE, V, NODE, 1e26);
        for (uint256 i = 0; i < 3; ++i) {
            staking.executeSlash(staking.proposeSlash(V, NODE, 9_999, "why"));
        }
        vm.expectRevert(
            abi.encodeWithSelector(
                SafeCast.SafeCastOverflowedUintDowncast.selector,
                128,
                1e29 + uint256(1e26) * (1e29 + 1000) / (uint256(1e14) + 1)
            )
        );
        _stake(BOB, V, NODE, 1e26);
    }

    // Weight.

    function test_past_stake_is_what_it_was() public {
        _stake(ALICE, V, NODE, 100 ether);
        _stake(ALICE, V, BOB, 50 ether);
        uint48 first = uint48(block.timestamp);
        _skip(7 days);
        _stake(CAROL, V, NODE, 11 ether);
        _unbond(ALICE, V, BOB, _sharesOf(ALICE, V, BOB));
        uint48 second = uint48(block.timestamp);
        _skip(1);
        assertEq(staking.getPastStake(V, NODE, first - 1), 0, "before");
        assertEq(staking.getPastStake(V, NODE, first), 100 ether, "first");
        assertEq(staking.getPastTotalStake(V, second - 1), 150 ether, "until the second");
        assertEq(staking.getPastStake(V, NODE, second), 111 ether, "second");
        assertEq(staking.getPastTotalStake(V, second), 111 ether, "queued stake has no weight");
        assertEq(staking.getPastStake(V, BOB, second), 0, "left");
        vm.expectRevert(abi.encodeWithSelector(Staking.TimeNotPast.selector, uint48(block.timestamp)));
        staking.getPastStake(V, NODE, uint48(block.timestamp));
        vm.expectRevert(abi.encodeWithSelector(Staking.TimeNotPast.selector, uint48(block.timestamp)));
        staking.getPastTotalStake(V, uint48(block.timestamp));
    }

    function test_past_stakes_of_operators_sum_to_the_total_though_one_was_looked_at_last() public {
        staking.setRate(V, 0.3e18);
        staking.fundRewards(V, 1_000 ether);
        _stake(ALICE, V, NODE, 100 ether);
        _stake(ALICE, V, BOB, 50 ether);
        _skip(100 days);
        staking.accrue(V, NODE);
        _skip(1);
        uint48 past = uint48(block.timestamp - 1);
        uint256 sum = staking.getPastStake(V, NODE, past) + staking.getPastStake(V, BOB, past);
        assertNear(sum, staking.getPastTotalStake(V, past), 2, "sum");
        assertTrue(sum > 160 ether, "with growth");
    }

    // Governance.

    function test_only_governance_reaches_restricted_calls() public {
        bytes[10] memory calls = [
            abi.encodeCall(Staking.proposeSlash, (V, NODE, 1, "why")),
            abi.encodeCall(Staking.vetoSlash, (0)),
            abi.encodeCall(Staking.addPenalty, (V, NODE, 1)),
            abi.encodeCall(Staking.forgive, (V, NODE, 1)),
            abi.encodeCall(Staking.setRate, (V, 1)),
            abi.encodeCall(Staking.setTerms, (V, 1, 1)),
            abi.encodeCall(Staking.setCaps, (V, 1, 1)),
            abi.encodeCall(Staking.setSlashDelay, (1)),
            abi.encodeCall(Staking.setPenaltyRule, (1, 1)),
            abi.encodeCall(Pausing.pause, (1))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(CAROL);
            (bool done, bytes memory answer) = address(staking).call(calls[i]);
            assertFalse(done, "a stranger got in");
            assertEq(
                keccak256(answer),
                keccak256(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, CAROL)),
                "why not"
            );
        }
    }

    function test_parameters_have_bounds() public {
        vm.expectRevert(abi.encodeWithSelector(Staking.RateTooHigh.selector, uint64(1e18 + 1)));
        staking.setRate(V, 1e18 + 1);
        vm.expectRevert(abi.encodeWithSelector(Staking.TermTooLong.selector, uint40(1461 days), uint40(1460 days)));
        staking.setTerms(V, 1461 days, 0);
        vm.expectRevert(abi.encodeWithSelector(Staking.TermTooLong.selector, uint40(366 days), uint40(365 days)));
        staking.setTerms(V, 0, 366 days);
        vm.expectRevert(abi.encodeWithSelector(Staking.TermTooLong.selector, uint40(31 days), uint40(30 days)));
        staking.setSlashDelay(31 days);
        vm.expectRevert(abi.encodeWithSelector(Staking.BpsOutOfRange.selector, 10_001));
        staking.setPenaltyRule(1, 10_001);
        vm.expectRevert(abi.encodeWithSelector(Staking.InsuranceMissing.selector));
        new Staking(coin, address(roles), address(0));
    }

    function test_views_of_parameters() public view {
        (uint40 lock, uint40 cooldown) = staking.terms(V);
        assertEq(lock, 7 days, "lock");
        assertEq(cooldown, 28 days, "cooldown");
        assertEq(staking.poolOf(V).base, 1e27, "base");
        assertEq(staking.indexOf(V), 1e27, "index");
    }

    // Pausing.

    function test_a_pause_flag_blocks_exactly_its_function() public {
        uint256 shares = _stake(ALICE, V, NODE, 100 ether);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares / 4);
        _skip(28 days);
        for (uint8 flag = 0; flag < 2; ++flag) {
            vm.prank(GUARD);
            staking.pause(uint128(1) << flag);
            _expectBlocked(uint128(1) << flag);
            staking.unpause(uint128(1) << flag);
        }
        vm.prank(GUARD);
        staking.pause(15);
        _expectBlocked(15);
        _skip(7 days);
        _expectBlocked(1 << 0 | 1 << 1);
        staking.unpause(1);
        _expectBlocked(1 << 1);
    }

    /// Calls every function that can be paused, each of which works when it is not.
    function _expectBlocked(uint128 flags) private {
        bytes[4] memory calls = [
            abi.encodeCall(Staking.stake, (Role.Agent, NODE, 1 ether)),
            abi.encodeCall(Staking.fundRewards, (V, 1)),
            abi.encodeCall(Staking.unbond, (V, NODE, 1 ether)),
            abi.encodeCall(Staking.withdraw, (V, NODE, staking.exitsOf(V, NODE, ALICE).length - 1))
        ];
        for (uint8 flag = 0; flag < 4; ++flag) {
            if (flag == 3 && flags & (1 << 3) == 0) {
                // Needs an exit that is due.
                uint256 last = staking.exitsOf(V, NODE, ALICE).length;
                staking.setTerms(V, 0, 0);
                (uint256 exit,) = _unbond(ALICE, V, NODE, 1 ether);
                assertEq(exit, last, "exit");
                staking.setTerms(V, 7 days, 28 days);
                calls[3] = abi.encodeCall(Staking.withdraw, (V, NODE, exit));
            }
            vm.prank(ALICE);
            (bool done, bytes memory answer) = address(staking).call(calls[flag]);
            bool blocked = flags & (uint128(1) << flag) != 0;
            assertTrue(done != blocked, "blocked or not");
            if (blocked) {
                assertEq(
                    keccak256(answer), keccak256(abi.encodeWithSelector(Pausing.FunctionPaused.selector, flag)), "why"
                );
            }
        }
    }

    // Fuzz.

    function testFuzz_growth_does_not_depend_on_how_often_it_is_written_down(
        uint64 rate,
        uint128 amount,
        uint32[8] calldata gaps
    ) public {
        rate = uint64(bound(rate, 1, 1e18));
        amount = uint128(bound(amount, 1e6, 1e26));
        staking.fundRewards(V, 9e26);
        staking.setRate(V, rate);
        staking.fundRewards(Role.Agent, 1);
        staking.setRate(Role.Agent, rate);
        _rich(address(this));
        staking.fundRewards(Role.Agent, 9e26);
        _stake(ALICE, V, NODE, amount);
        _stake(ALICE, Role.Agent, NODE, amount);
        for (uint256 i = 0; i < gaps.length; ++i) {
            _skip(bound(gaps[i], 0, 60 days));
            staking.accrue(V, NODE);
        }
        assertEq(staking.indexOf(V), staking.indexOf(Role.Agent), "index to the last digit");
        assertEq(staking.stakeOf(V, NODE), staking.stakeOf(Role.Agent, NODE), "stake to the last unit");
        staking.accrue(Role.Agent, NODE);
        assertEq(staking.totalStake(V), staking.totalStake(Role.Agent), "total");
    }

    function testFuzz_a_cut_does_not_depend_on_how_often_it_is_written_down(
        uint64 rate,
        uint128 amount,
        uint32[8] calldata gaps
    ) public {
        rate = uint64(bound(rate, 1, 1e18));
        amount = uint128(bound(amount, 1e6, 1e26));
        for (uint8 r = 1; r <= 2; ++r) {
            _rich(address(this));
            staking.fundRewards(Role(r), 9e26);
            staking.setRate(Role(r), rate);
            _stake(ALICE, Role(r), NODE, amount);
            staking.addPenalty(Role(r), NODE, 100);
        }
        for (uint256 i = 0; i < gaps.length; ++i) {
            _skip(bound(gaps[i], 0, 60 days));
            staking.accrue(V, NODE);
        }
        uint256 often = staking.stakeOf(V, NODE);
        uint256 rarely = staking.stakeOf(Role.Agent, NODE);
        assertNear(often, rarely, 20 + amount / 1e16, "rounding only");
        assertTrue(often + 20 + amount / 1e16 >= amount, "a cut does not eat the stake");
    }

    function testFuzz_a_round_trip_never_gains(uint128 first, uint128 second, uint32 time, uint16 bps) public {
        first = uint128(bound(first, 1, 1e26));
        second = uint128(bound(second, 1, 1e26));
        bps = uint16(bound(bps, 1, 9_999));
        staking.setRate(V, 0.5e18);
        staking.fundRewards(V, 1e26);
        _stake(ALICE, V, NODE, first);
        _skip(time);
        staking.setSlashDelay(0);
        staking.executeSlash(staking.proposeSlash(V, NODE, bps, "why"));
        uint256 alice = staking.assetsOf(V, NODE, ALICE);
        staking.setTerms(V, 0, 0);
        try this.stakeAsBob(second) {}
        catch {
            return;
        }
        (, uint256 amount) = _unbond(BOB, V, NODE, _sharesOf(BOB, V, NODE));
        assertLe(amount, second, "bob gains nothing");
        assertTrue(staking.assetsOf(V, NODE, ALICE) >= alice, "alice loses nothing");
    }

    function testFuzz_a_slash_reaches_the_queue_pro_rata(uint128 amount, uint16 part, uint16 bps) public {
        amount = uint128(bound(amount, 1e9, 1e26));
        bps = uint16(bound(bps, 1, 10_000));
        uint256 shares = _stake(ALICE, V, NODE, amount);
        _skip(7 days);
        _unbond(ALICE, V, NODE, shares * bound(part, 1, 9_999) / 10_000);
        (uint256 active, uint256 queued) = (staking.stakeOf(V, NODE), staking.queuedOf(V, NODE));
        uint256 id = staking.proposeSlash(V, NODE, bps, "why");
        _skip(2 days);
        (uint256 fromActive, uint256 fromQueue) = staking.executeSlash(id);
        assertNear(fromActive, active * bps / 10_000, 1, "active");
        assertEq(fromQueue, queued * bps / 10_000, "queue");
    }
}
