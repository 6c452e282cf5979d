// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {Pausing} from "../../src/access/Pausing.sol";
import {Test} from "../Test.sol";
import {OpenAuthority} from "./OpenAuthority.sol";

/// Four functions, the last one an exit.
contract Four is Pausing {
    constructor(address authority) AccessManaged(authority) {}

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        return (15, 8);
    }
}

/// Proved by `halmos --contract SwitchesProof`.
contract SwitchesProof is Test {
    Four private four;

    function setUp() public {
        vm.warp(1_800_000_000);
        four = new Four(address(new OpenAuthority()));
    }

    /// Whatever two pauses name, exactly that is paused, and exits no longer than a week.
    function check_two_pauses_stop_exactly_what_they_name(uint128 first, uint128 second, uint8 flag, uint40 passed)
        public
    {
        try four.pause(first) {}
        catch {
            first = 0;
        }
        try four.pause(second) {}
        catch {
            second = 0;
        }
        vm.warp(block.timestamp + passed);
        bool named = (first | second) & (uint128(1) << flag) != 0;
        assert(four.isPaused(flag) == (named && (flag != 3 || passed < 7 days)));
        assert((first | second) < 16);
    }
}
