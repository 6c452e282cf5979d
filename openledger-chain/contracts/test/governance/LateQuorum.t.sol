// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorPreventLateQuorum} from "@openzeppelin/contracts/governance/extensions/GovernorPreventLateQuorum.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {GovernorVotesQuorumFraction} from
    "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {LateQuorum} from "../../src/governance/LateQuorum.sol";
import {OpenGovernor} from "../../src/governance/OpenGovernor.sol";
import {Preset} from "../../src/governance/Preset.sol";
import {Test} from "../Test.sol";
import {VotesToken} from "./VotesToken.sol";

/// OpenZeppelin's own late-quorum rule, to compare with.
contract Reference is GovernorSettings, GovernorCountingSimple, GovernorVotesQuorumFraction, GovernorPreventLateQuorum {
    constructor(VotesToken votes, Preset memory p)
        Governor("Reference")
        GovernorSettings(p.votingDelay, p.votingPeriod, p.proposalThreshold)
        GovernorVotes(votes)
        GovernorVotesQuorumFraction(p.quorumBps)
        GovernorPreventLateQuorum(p.extension)
    {}

    function quorumDenominator() public pure override returns (uint256) {
        return 10_000;
    }

    function proposalDeadline(uint256 id) public view override(Governor, GovernorPreventLateQuorum) returns (uint256) {
        return super.proposalDeadline(id);
    }

    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    function _tallyUpdated(uint256 id) internal override(Governor, GovernorPreventLateQuorum) {
        super._tallyUpdated(id);
    }
}

contract LateQuorumTest is Test {
    uint256 private constant VOTERS = 8;
    uint32 private constant PERIOD = 7 days;

    VotesToken private votes;

    function deploy(uint48 extension, uint16 quorumBps) private returns (OpenGovernor ours, Reference theirs, uint256 id) {
        vm.warp(1_800_000_000);
        votes = new VotesToken();
        Preset memory p = Preset({
            proposalThreshold: 0,
            votingDelay: 1 days,
            votingPeriod: PERIOD,
            extension: extension,
            quorumBps: quorumBps
        });
        ours = new OpenGovernor(votes, TimelockController(payable(address(1))), address(0), p);
        theirs = new Reference(votes, p);
    }

    function propose(OpenGovernor ours, Reference theirs) private returns (uint256 id) {
        vm.warp(block.timestamp + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory data) =
            (new address[](1), new uint256[](1), new bytes[](1));
        id = ours.propose(targets, values, data, "");
        assertEq(theirs.propose(targets, values, data, ""), id, "id");
    }

    function voter(uint256 i) private pure returns (address) {
        return address(uint160(0x1000 + i));
    }

    function same(OpenGovernor ours, Reference theirs, uint256 id) private view {
        assertEq(ours.proposalDeadline(id), theirs.proposalDeadline(id), "deadline");
        assertEq(uint256(ours.state(id)), uint256(theirs.state(id)), "state");
    }

    /// Votes of any weight at any time, many of them around the last extension and the deadline.
    function testFuzz_deadlines_and_states_are_those_of_openzeppelin(uint256 seed, uint48 extension, uint16 quorumBps)
        public
    {
        extension = uint48(bound(extension, 0, PERIOD));
        quorumBps = uint16(bound(quorumBps, 1, 10_000));
        (OpenGovernor ours, Reference theirs, uint256 id) = deploy(extension, quorumBps);
        for (uint256 i = 0; i < VOTERS; ++i) {
            votes.mint(voter(i), 10_000 + uint256(keccak256(abi.encode(seed, i))) % 1_000_000);
            vm.prank(voter(i));
            votes.delegate(voter(i));
        }
        id = propose(ours, theirs);
        uint256 start = ours.proposalSnapshot(id);
        for (uint256 i = 0; i < VOTERS; ++i) {
            uint256 r = uint256(keccak256(abi.encode(seed, i, "vote")));
            uint256 next = block.timestamp + r % (PERIOD / 4);
            uint256 edge = (r >> 64) % 4; // now and then exactly at an edge, or a second beside it
            if (edge == 0) next = start + PERIOD - extension + (r >> 128) % 3;
            if (edge == 1) next = start + PERIOD + (r >> 128) % 3 - 1;
            if (edge == 2) next = ours.proposalDeadline(id) + (r >> 128) % 2;
            if (next > block.timestamp) vm.warp(next);
            same(ours, theirs, id);
            uint8 support = uint8((r >> 200) % 3);
            vm.prank(voter(i));
            (bool a,) = address(ours).call(abi.encodeCall(ours.castVote, (id, support)));
            vm.prank(voter(i));
            (bool b,) = address(theirs).call(abi.encodeCall(theirs.castVote, (id, support)));
            assertTrue(a == b, "taken alike");
            same(ours, theirs, id);
        }
        vm.warp(ours.proposalDeadline(id));
        same(ours, theirs, id);
        vm.warp(block.timestamp + 1);
        same(ours, theirs, id);
    }

    function two(uint256 first, uint256 second) private returns (OpenGovernor ours, Reference theirs, uint256 id) {
        (ours, theirs, id) = deploy(2 days, 5000);
        votes.mint(voter(0), first);
        votes.mint(voter(1), second);
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(voter(i));
            votes.delegate(voter(i));
        }
        id = propose(ours, theirs);
    }

    function test_quorum_in_the_last_second_leaves_the_whole_extension() public {
        (OpenGovernor ours,, uint256 id) = two(60, 40);
        uint256 deadline = ours.proposalDeadline(id);
        vm.warp(deadline);
        vm.prank(voter(0));
        vm.expectEmit(address(ours));
        emit LateQuorum.ProposalExtended(id, uint64(deadline + 2 days));
        ours.castVote(id, 1);
        assertEq(ours.proposalDeadline(id), deadline + 2 days, "extended");
        vm.warp(deadline + 2 days);
        vm.prank(voter(1));
        ours.castVote(id, 0);
        assertEq(ours.proposalDeadline(id), deadline + 2 days, "once");
    }

    function test_quorum_before_the_last_extension_moves_nothing() public {
        (OpenGovernor ours,, uint256 id) = two(60, 40);
        uint256 deadline = ours.proposalDeadline(id);
        vm.warp(deadline - 2 days);
        vm.prank(voter(0));
        ours.castVote(id, 1);
        vm.warp(deadline);
        vm.prank(voter(1));
        ours.castVote(id, 1);
        assertEq(ours.proposalDeadline(id), deadline, "where it was");
    }

    function test_an_extension_longer_than_voting_is_refused() public {
        votes = new VotesToken();
        Preset memory p = Preset(0, 1 days, PERIOD, PERIOD + 1, 500);
        vm.expectRevert(abi.encodeWithSelector(LateQuorum.ExtensionTooLong.selector, PERIOD + 1, PERIOD));
        new OpenGovernor(votes, TimelockController(payable(address(1))), address(0), p);
    }
}
