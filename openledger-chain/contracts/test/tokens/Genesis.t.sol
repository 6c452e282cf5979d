// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Genesis, GenesisAccounts} from "../../src/tokens/Genesis.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Vesting} from "../../src/tokens/Vesting.sol";
import {Test} from "../Test.sol";

contract GenesisTest is Test {
    uint64 private constant START = 1_800_000_000;
    uint64 private constant YEAR = 365 days;
    address private constant COMMUNITY = address(1);
    address private constant INVESTORS = address(2);
    address private constant TEAM = address(3);
    address private constant LIQUIDITY = address(4);

    Genesis private genesis;
    OpenToken private token;

    function setUp() public {
        vm.warp(START);
        genesis = new Genesis(GenesisAccounts(COMMUNITY, INVESTORS, TEAM, LIQUIDITY));
        token = genesis.TOKEN();
    }

    function releasable(Vesting vesting) private view returns (uint256) {
        return vesting.releasable(address(token));
    }

    function test_the_allocation_is_exact_to_the_unit() public view {
        assertEq(token.totalSupply(), 1e27, "a billion");
        assertEq(token.balanceOf(COMMUNITY), 165_500_000 ether, "community, free");
        assertEq(token.balanceOf(address(genesis.COMMUNITY())), 451_600_000 ether, "community, vested");
        assertEq(token.balanceOf(address(genesis.INVESTORS())), 182_900_000 ether, "investors");
        assertEq(token.balanceOf(address(genesis.TEAM())), 150_000_000 ether, "team");
        assertEq(token.balanceOf(LIQUIDITY), 50_000_000 ether, "liquidity");
        assertEq(token.balanceOf(address(genesis)), 0, "the genesis keeps nothing");
        assertEq(165_500_000 + 451_600_000, 617_100_000, "community in all");
    }

    function test_a_fifth_circulates_at_the_start() public view {
        uint256 vested = releasable(genesis.COMMUNITY()) + releasable(genesis.INVESTORS()) + releasable(genesis.TEAM());
        assertEq(
            token.balanceOf(COMMUNITY) + token.balanceOf(LIQUIDITY) + vested, 215_500_000 ether, "21.55 % of a billion"
        );
    }

    function test_each_vesting_belongs_to_its_beneficiary() public view {
        assertEq(genesis.COMMUNITY().owner(), COMMUNITY, "community");
        assertEq(genesis.INVESTORS().owner(), INVESTORS, "investors");
        assertEq(genesis.TEAM().owner(), TEAM, "team");
    }

    function test_the_community_is_free_after_48_months() public {
        vm.warp(START + 1 * YEAR);
        assertEq(releasable(genesis.COMMUNITY()), 112_900_000 ether, "a quarter after a year");
        vm.warp(START + 4 * YEAR - 1);
        assertTrue(releasable(genesis.COMMUNITY()) < 451_600_000 ether, "not all a second early");
        vm.warp(START + 4 * YEAR);
        assertEq(releasable(genesis.COMMUNITY()), 451_600_000 ether, "all");
    }

    function test_nothing_is_free_before_and_at_the_cliff_and_all_is_36_months_later() public {
        vm.warp(START + YEAR);
        assertEq(releasable(genesis.INVESTORS()), 0, "investors at the cliff");
        assertEq(releasable(genesis.TEAM()), 0, "team at the cliff");
        vm.warp(START + 2 * YEAR);
        assertEq(releasable(genesis.TEAM()), 50_000_000 ether, "a third a year later");
        vm.warp(START + 4 * YEAR);
        assertEq(releasable(genesis.INVESTORS()), 182_900_000 ether, "investors, all");
        assertEq(releasable(genesis.TEAM()), 150_000_000 ether, "team, all");
    }

    /// Whenever and however often it is released, no more than the line and in the end everything.
    function testFuzz_a_vesting_pays_its_line(uint32[8] calldata steps) public {
        uint256 passed;
        for (uint256 i = 0; i < 8; ++i) {
            passed += steps[i] % (250 days);
            vm.warp(START + passed);
            genesis.TEAM().release(address(token));
            uint256 free = passed < YEAR ? 0 : uint256(150_000_000 ether) * (passed - YEAR) / (3 * YEAR);
            if (passed > 4 * YEAR) free = 150_000_000 ether;
            assertEq(token.balanceOf(TEAM), free, "the line");
        }
        vm.warp(START + 4 * YEAR);
        genesis.TEAM().release(address(token));
        assertEq(token.balanceOf(TEAM), 150_000_000 ether, "everything");
    }

    function test_a_beneficiary_cannot_lose_the_rest_by_mistake() public {
        Vesting team = genesis.TEAM();
        vm.expectRevert(Vesting.WouldLoseTheRest.selector);
        vm.prank(TEAM);
        team.renounceOwnership();
    }

    function test_nobody_may_be_left_out() public {
        vm.expectRevert();
        new Genesis(GenesisAccounts(COMMUNITY, address(0), TEAM, LIQUIDITY));
        vm.expectRevert();
        new Genesis(GenesisAccounts(COMMUNITY, INVESTORS, TEAM, address(0)));
    }
}
