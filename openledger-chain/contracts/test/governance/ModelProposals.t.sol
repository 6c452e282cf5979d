// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {Roles} from "../../src/access/Roles.sol";
import {IModels} from "../../src/governance/IModels.sol";
import {ModelProposals} from "../../src/governance/ModelProposals.sol";
import {ModelTerms} from "../../src/governance/ModelTerms.sol";
import {Test} from "../Test.sol";
import {VotesToken} from "./VotesToken.sol";

contract Models is IModels {
    mapping(address => mapping(bytes32 => uint40)) public registeredAt;

    function register(address owner, bytes32 model) external {
        registeredAt[owner][model] = uint40(block.timestamp);
    }
}

/// Proposes, decides, deploys and waits at random, and keeps the sum of what is at stake.
contract ModelProposalsHandler is Test {
    ModelProposals private immutable _proposals;
    VotesToken private immutable _money;
    Models private immutable _models;
    address private immutable _governance;
    bytes32[] public ids;
    uint256 public put;

    constructor(ModelProposals proposals, VotesToken money, Models models, address governance) {
        (_proposals, _money, _models, _governance) = (proposals, money, models, governance);
    }

    function count() external view returns (uint256) {
        return ids.length;
    }

    function propose(uint8 who, uint64 stake) external {
        address proposer = address(uint160(0x100 + who % 4));
        uint128 amount = uint128(100 + uint256(stake) % 1_000_000);
        _money.mint(proposer, amount);
        vm.startPrank(proposer);
        _money.approve(address(_proposals), amount);
        ids.push(_proposals.propose(bytes32(ids.length + 1), "", amount));
        vm.stopPrank();
        put += amount;
    }

    function decide(uint256 which, bool yes) external {
        if (ids.length == 0) return;
        vm.prank(_governance);
        yes ? _proposals.approve(ids[which % ids.length]) : _proposals.reject(ids[which % ids.length]);
    }

    /// Anybody but governance tries to decide; works never.
    function usurp(uint256 which, address who) external {
        if (ids.length == 0 || who == _governance) return;
        vm.prank(who);
        _proposals.approve(ids[which % ids.length]);
        put = type(uint256).max;
    }

    function deploy(uint256 which) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        address proposer = _proposals.proposal(id).proposer;
        _models.register(proposer, id);
        vm.prank(proposer);
        _proposals.deploy(id, id);
    }

    function lapse(uint256 which) external {
        if (ids.length > 0) _proposals.lapse(ids[which % ids.length]);
    }

    function setTerms(uint128 minStake, uint16 forfeitBps) external {
        vm.prank(_governance);
        _proposals.setTerms(ModelTerms(minStake % 100, forfeitBps % 10_001, 30 days, 30 days));
    }

    function wait_(uint24 time) external {
        vm.warp(block.timestamp + time);
    }
}

contract ModelProposalsTest is Test {
    uint40 private constant START = 1_800_000_000;

    VotesToken private money;
    Models private models;
    ModelProposals private proposals;
    ModelProposalsHandler private handler;
    address private treasury = address(0x7EA5);
    address private alice = address(0xA11CE);

    function setUp() public {
        vm.warp(START);
        (money, models) = (new VotesToken(), new Models());
        proposals = new ModelProposals(address(new Roles(address(this))), money, models, treasury, someTerms());
        money.mint(alice, 10_000);
        vm.prank(alice);
        money.approve(address(proposals), type(uint256).max);
        handler = new ModelProposalsHandler(proposals, money, models, address(this));
        targetContract(address(handler));
    }

    function someTerms() private pure returns (ModelTerms memory) {
        return ModelTerms({minStake: 1000, forfeitBps: 2500, decisionPeriod: 30 days, deploymentPeriod: 90 days});
    }

    function propose() private returns (bytes32) {
        vm.prank(alice);
        return proposals.propose("plan", "da", 1001);
    }

    function approved() private returns (bytes32 id) {
        id = propose();
        proposals.approve(id);
    }

    function deploy(bytes32 id, bytes32 model) private {
        vm.prank(alice);
        proposals.deploy(id, model);
    }

    function assertStatus(bytes32 id, ModelProposals.Status status) private view {
        assertEq(uint256(proposals.proposal(id).status), uint256(status), "status");
    }

    function test_an_approved_proposal_that_comes_to_a_model_gets_all_back() public {
        bytes32 id = approved();
        assertEq(money.balanceOf(alice), 10_000 - 1001, "at stake");
        models.register(alice, "model");
        vm.expectEmit(address(proposals));
        emit ModelProposals.StakeReturned(id, alice, 1001, 0);
        deploy(id, "model");
        assertEq(money.balanceOf(alice), 10_000, "back");
        assertEq(proposals.proposal(id).model, "model", "linked");
        assertStatus(id, ModelProposals.Status.Deployed);
    }

    function test_a_rejected_proposal_loses_its_share_and_no_more() public {
        bytes32 id = propose();
        proposals.setTerms(ModelTerms(0, 10_000, 1, 1));
        proposals.reject(id);
        assertEq(money.balanceOf(treasury), 250, "a quarter, as when it was made");
        assertEq(money.balanceOf(alice), 9750, "the rest");
        assertEq(money.balanceOf(address(proposals)), 0, "all");
        assertStatus(id, ModelProposals.Status.Rejected);
    }

    function test_an_undecided_proposal_loses_nothing() public {
        bytes32 id = propose();
        vm.warp(START + 30 days);
        vm.expectRevert(
            abi.encodeWithSelector(ModelProposals.ProposalNotOverdue.selector, id, uint40(START + 30 days))
        );
        proposals.lapse(id);
        vm.warp(START + 30 days + 1);
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.ProposalOverdue.selector, id, uint40(START + 30 days)));
        proposals.approve(id);
        proposals.lapse(id);
        assertEq(money.balanceOf(alice), 10_000, "all back");
        assertStatus(id, ModelProposals.Status.Lapsed);
    }

    function test_an_approved_proposal_without_a_model_loses_its_share() public {
        bytes32 id = approved();
        vm.warp(START + 90 days + 1);
        models.register(alice, "model");
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.ProposalOverdue.selector, id, uint40(START + 90 days)));
        deploy(id, "model");
        proposals.lapse(id);
        assertEq(money.balanceOf(treasury), 250, "a quarter");
        assertEq(money.balanceOf(alice), 9750, "the rest");
    }

    function test_stakes_are_paid_out_once() public {
        bytes32 id = propose();
        proposals.reject(id);
        bytes memory over = abi.encodeWithSelector(
            ModelProposals.ProposalNotIn.selector, id, ModelProposals.Status.Rejected, ModelProposals.Status.Pending
        );
        vm.expectRevert(over);
        proposals.reject(id);
        vm.expectRevert(over);
        proposals.approve(id);
        vm.warp(START + 365 days);
        vm.expectRevert(over);
        proposals.lapse(id);
        vm.expectRevert(
            abi.encodeWithSelector(
                ModelProposals.ProposalNotIn.selector,
                id,
                ModelProposals.Status.Rejected,
                ModelProposals.Status.Approved
            )
        );
        deploy(id, "model");
    }

    function test_only_governance_decides() public {
        bytes32 id = propose();
        bytes memory no = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, alice);
        vm.startPrank(alice);
        vm.expectRevert(no);
        proposals.approve(id);
        vm.expectRevert(no);
        proposals.reject(id);
        vm.expectRevert(no);
        proposals.setTerms(someTerms());
    }

    function test_a_proposal_needs_a_plan_and_a_stake_and_is_made_once() public {
        vm.startPrank(alice);
        vm.expectRevert(ModelProposals.MetadataEmpty.selector);
        proposals.propose(0, "da", 1001);
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.StakeTooLow.selector, 999, 1000));
        proposals.propose("plan", "da", 999);
        bytes32 id = proposals.propose("plan", "da", 1000);
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.ProposalExists.selector, id));
        proposals.propose("plan", "da", 1000);
    }

    function test_the_model_is_the_proposers_and_newer_and_answers_one_proposal() public {
        models.register(alice, "old");
        vm.warp(START + 1);
        bytes32 id = approved();
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.NotProposer.selector, id, address(this)));
        proposals.deploy(id, "model");
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.ModelUnknown.selector, alice, bytes32("model")));
        deploy(id, "model");
        vm.expectRevert(
            abi.encodeWithSelector(ModelProposals.ModelOlder.selector, bytes32("old"), START, START + 1)
        );
        deploy(id, "old");
        models.register(alice, "model");
        deploy(id, "model");
        vm.prank(alice);
        bytes32 other = proposals.propose("another", "da", 1000);
        proposals.approve(other);
        vm.expectRevert(abi.encodeWithSelector(ModelProposals.ModelTaken.selector, bytes32("model"), id));
        deploy(other, "model");
    }

    function test_unsound_terms_are_refused() public {
        uint40 long = 4 * 366 days + 1;
        ModelTerms[5] memory wrong = [
            ModelTerms(0, 10_001, 1, 1),
            ModelTerms(0, 0, 0, 1),
            ModelTerms(0, 0, 1, 0),
            ModelTerms(0, 0, long, 1),
            ModelTerms(0, 0, 1, long)
        ];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ModelProposals.TermsUnsound.selector, wrong[i]));
            proposals.setTerms(wrong[i]);
        }
    }

    function testFuzz_no_unit_is_lost(uint128 stake, uint16 bps) public {
        stake = uint128(bound(stake, 1, 2 ** 120));
        bps = uint16(bound(bps, 0, 10_000));
        proposals.setTerms(ModelTerms(0, bps, 1, 1));
        money.mint(alice, stake);
        vm.prank(alice);
        bytes32 id = proposals.propose("plan", "da", stake);
        proposals.reject(id);
        assertEq(money.balanceOf(treasury), uint256(stake) * bps / 10_000, "share");
        assertEq(money.balanceOf(alice) + money.balanceOf(treasury), uint256(stake) + 10_000, "all");
    }

    /// The money in the contract is the stakes of what is undecided or undeployed; the rest is out.
    function invariant_stakes_in_are_stakes_out() public view {
        uint256 held;
        uint256 out;
        for (uint256 i = 0; i < handler.count(); ++i) {
            ModelProposals.Proposal memory p = proposals.proposal(handler.ids(i));
            bool open = p.status == ModelProposals.Status.Pending || p.status == ModelProposals.Status.Approved;
            if (open) held += p.stake;
            else out += p.stake;
        }
        assertEq(money.balanceOf(address(proposals)), held, "held");
        uint256 paid = money.balanceOf(treasury);
        for (uint160 i = 0; i < 4; ++i) paid += money.balanceOf(address(0x100 + i));
        assertEq(paid, out, "out");
        assertEq(handler.put(), held + out, "in");
    }
}
