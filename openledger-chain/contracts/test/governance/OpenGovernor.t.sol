// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {Roles} from "../../src/access/Roles.sol";
import {FeePolicy} from "../../src/payments/FeePolicy.sol";
import {OpenGovernor} from "../../src/governance/OpenGovernor.sol";
import {OpenTimelock} from "../../src/governance/OpenTimelock.sol";
import {Preset} from "../../src/governance/Preset.sol";
import {Test} from "../Test.sol";
import {VotesToken} from "./VotesToken.sol";

/// A token whose clock counts blocks.
contract BlockToken {
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=blocknumber&from=default";
    }
}

/// A wallet that says yes to one digest.
contract Wallet {
    bytes32 public yes;

    function agree(bytes32 digest) external {
        yes = digest;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return digest == yes ? this.isValidSignature.selector : bytes4(0);
    }
}

contract OpenGovernorTest is Test {
    uint256 private constant KEY = 0xA11CE;

    VotesToken private votes;
    OpenTimelock private timelock;
    OpenGovernor private governor;
    Roles private roles;
    FeePolicy private fees;
    address private guardian = address(0x6AAD);
    address private alice = vm.addr(KEY);
    address private bob = address(0xB0B);

    function current() private pure returns (Preset memory) {
        return Preset(10_000 ether, 1 days, 1 weeks, 1 days, 500);
    }

    function genesis() private pure returns (Preset memory) {
        return Preset(100 ether, 1 days, 2 weeks, 1 days, 2500);
    }

    function setUp() public {
        vm.warp(1_800_000_000);
        votes = new VotesToken();
        deploy(current(), 1 weeks);
        give(alice, 20_000 ether);
        give(bob, 10_000 ether);
        votes.mint(address(1), 170_000 ether);
        vm.warp(block.timestamp + 1);
    }

    function deploy(Preset memory preset, uint256 delay) private {
        address[] memory anybody = new address[](1);
        timelock = new OpenTimelock(delay, new address[](0), anybody, address(this));
        governor = new OpenGovernor(votes, timelock, guardian, preset);
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        roles = new Roles(address(timelock));
        fees = new FeePolicy(address(roles), address(2), address(3));
    }

    function give(address account, uint256 amount) private {
        votes.mint(account, amount);
        vm.prank(account);
        votes.delegate(account);
    }

    function calls(address target, bytes memory data)
        private
        pure
        returns (address[] memory targets, uint256[] memory values, bytes[] memory datas)
    {
        (targets, values, datas) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], datas[0]) = (target, data);
    }

    function propose(address target, bytes memory data) private returns (uint256) {
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(target, data);
        vm.prank(alice);
        return governor.propose(targets, values, datas, "why");
    }

    function queue(address target, bytes memory data) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(target, data);
        governor.queue(targets, values, datas, keccak256("why"));
    }

    function execute(address target, bytes memory data) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(target, data);
        governor.execute(targets, values, datas, keccak256("why"));
    }

    function cancel(address by, address target, bytes memory data) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(target, data);
        vm.prank(by);
        governor.cancel(targets, values, datas, keccak256("why"));
    }

    function vote(address by, uint256 id, uint8 support) private {
        vm.prank(by);
        governor.castVote(id, support);
    }

    function pass(address target, bytes memory data) private {
        uint256 id = propose(target, data);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vote(alice, id, 1);
        vm.warp(governor.proposalDeadline(id) + 1);
        queue(target, data);
        vm.warp(block.timestamp + timelock.getMinDelay());
        execute(target, data);
    }

    function assertState(uint256 id, IGovernor.ProposalState state) private view {
        assertEq(uint256(governor.state(id)), uint256(state), "state");
    }

    bytes private newAccounts = abi.encodeCall(FeePolicy.setAccounts, (address(4), address(5)));

    function test_a_vote_changes_what_only_the_timelock_can() public {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, address(this)));
        fees.setAccounts(address(4), address(5));
        address before = fees.treasury();
        pass(address(fees), newAccounts);
        assertEq(fees.treasury(), before, "in the epoch of the change");
        vm.warp(block.timestamp + fees.EPOCH());
        assertEq(fees.treasury(), address(4), "changed");
    }

    function test_a_proposal_is_executed_once() public {
        pass(address(fees), newAccounts);
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(address(fees), newAccounts);
        vm.expectRevert();
        governor.execute(targets, values, datas, keccak256("why"));
        bytes32 salt = bytes20(address(governor)) ^ keccak256("why");
        vm.expectRevert();
        timelock.executeBatch(targets, values, datas, 0, salt);
        vm.expectRevert();
        governor.queue(targets, values, datas, keccak256("why"));
    }

    function test_the_current_preset_is_what_it_says() public view {
        assertEq(governor.proposalThreshold(), 10_000 ether, "threshold");
        assertEq(governor.votingDelay(), 1 days, "delay");
        assertEq(governor.votingPeriod(), 1 weeks, "period");
        assertEq(governor.quorum(block.timestamp - 1), 10_000 ether, "5 % of 200,000");
        assertEq(timelock.getMinDelay(), 1 weeks, "timelock");
        assertEq(governor.timelock(), address(timelock), "whose");
        assertEq(uint256(governor.clock()), block.timestamp, "clock");
        assertEq(keccak256(bytes(governor.CLOCK_MODE())), keccak256("mode=timestamp"), "mode");
    }

    function test_the_genesis_preset_passes_with_a_quarter() public {
        deploy(genesis(), 1 days);
        vm.warp(block.timestamp + 1);
        assertEq(governor.quorum(block.timestamp - 1), 50_000 ether, "25 % of 200,000");
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vote(alice, id, 1);
        vm.warp(governor.proposalDeadline(id) + 1);
        assertState(id, IGovernor.ProposalState.Defeated);
        give(bob, 30_000 ether);
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(address(fees), newAccounts);
        vm.warp(block.timestamp + 1);
        vm.prank(alice);
        id = governor.propose(targets, values, datas, "again");
        vm.warp(governor.proposalSnapshot(id) + 1);
        vote(alice, id, 1);
        vote(bob, id, 2);
        vm.warp(governor.proposalDeadline(id) + 1);
        assertState(id, IGovernor.ProposalState.Succeeded);
    }

    function test_proposing_takes_votes() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory datas) = calls(address(fees), newAccounts);
        vm.expectRevert(
            abi.encodeWithSelector(IGovernor.GovernorInsufficientProposerVotes.selector, address(7), 0, 10_000 ether)
        );
        vm.prank(address(7));
        governor.propose(targets, values, datas, "why");
    }

    function test_votes_after_the_snapshot_do_not_count() public {
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        give(address(7), 1_000_000 ether);
        vote(address(7), id, 0);
        vote(alice, id, 1);
        (uint256 against, uint256 inFavour,) = governor.proposalVotes(id);
        assertEq(against, 0, "too late");
        assertEq(inFavour, 20_000 ether, "in time");
    }

    function test_votes_used_are_votes_had(uint256 weight, uint8 support) public {
        weight = bound(weight, 0, 2 ** 200);
        support %= 3;
        give(address(7), weight);
        vm.warp(block.timestamp + 1);
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vote(address(7), id, support);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorAlreadyCastVote.selector, address(7)));
        vote(address(7), id, support);
        (uint256 against, uint256 inFavour, uint256 abstain) = governor.proposalVotes(id);
        assertEq(against + inFavour + abstain, votes.getPastVotes(address(7), governor.proposalSnapshot(id)), "used");
    }

    function test_the_guardian_cancels_until_execution_and_nobody_else() public {
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vote(alice, id, 1);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorUnableToCancel.selector, id, alice));
        cancel(alice, address(fees), newAccounts);
        vm.warp(governor.proposalDeadline(id) + 1);
        queue(address(fees), newAccounts);
        cancel(guardian, address(fees), newAccounts);
        assertState(id, IGovernor.ProposalState.Canceled);
        vm.warp(block.timestamp + 1 weeks);
        vm.expectRevert();
        this.tryExecute(newAccounts);
        assertEq(fees.treasury(), address(2), "unchanged");
    }

    function tryExecute(bytes calldata data) external {
        execute(address(fees), data);
    }

    function test_settings_change_by_a_proposal_of_the_governor_only() public {
        bytes memory data = abi.encodeCall(governor.setVotingPeriod, (3 days));
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, address(this)));
        governor.setVotingPeriod(3 days);
        vm.prank(address(timelock));
        vm.expectRevert(); // the timelock alone, without a proposal
        governor.setVotingPeriod(3 days);
        pass(address(governor), data);
        assertEq(governor.votingPeriod(), 3 days, "changed");
    }

    function digestOf(uint256 id, uint8 support, address voter, uint256 nonce) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("OpenLedger"),
                keccak256("1"),
                block.chainid,
                address(governor)
            )
        );
        bytes32 message = keccak256(abi.encode(governor.BALLOT_TYPEHASH(), id, support, voter, nonce));
        return keccak256(abi.encodePacked("\x19\x01", domain, message));
    }

    function test_a_signed_ballot_counts_once_and_only_as_signed() public {
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        bytes memory ballot = signature(KEY, digestOf(id, 1, alice, 0));
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, alice));
        governor.castVoteBySig(id, 0, alice, ballot);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, bob));
        governor.castVoteBySig(id, 1, bob, ballot);
        governor.castVoteBySig(id, 1, alice, ballot);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, alice));
        governor.castVoteBySig(id, 1, alice, ballot);
        (, uint256 inFavour,) = governor.proposalVotes(id);
        assertEq(inFavour, 20_000 ether, "once");
    }

    function test_a_wallet_signs_with_its_code() public {
        Wallet wallet = new Wallet();
        give(address(wallet), 5 ether);
        vm.warp(block.timestamp + 1);
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, address(wallet)));
        governor.castVoteBySig(id, 2, address(wallet), "");
        wallet.agree(digestOf(id, 2, address(wallet), 0));
        governor.castVoteBySig(id, 2, address(wallet), "");
        assertTrue(governor.hasVoted(id, address(wallet)), "voted");
    }

    function test_a_key_signs_whatever_code_its_account_has() public {
        uint256 id = propose(address(fees), newAccounts);
        vm.warp(governor.proposalSnapshot(id) + 1);
        vm.etch(alice, address(new Wallet()).code);
        governor.castVoteBySig(id, 1, alice, signature(KEY, digestOf(id, 1, alice, 0)));
        assertTrue(governor.hasVoted(id, alice), "voted");
    }

    function test_a_token_that_counts_blocks_is_refused() public {
        IERC5805 blocks = IERC5805(address(new BlockToken()));
        vm.expectRevert(
            abi.encodeWithSelector(OpenGovernor.ClockUnlike.selector, "mode=blocknumber&from=default")
        );
        new OpenGovernor(blocks, TimelockController(payable(address(1))), guardian, current());
    }
}
