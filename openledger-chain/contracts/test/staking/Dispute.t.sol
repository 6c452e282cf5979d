// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {Pausing} from "../../src/access/Pausing.sol";
import {Ballots} from "../../src/staking/Ballots.sol";
import {Ground, Phase, Terms, Verdict} from "../../src/staking/Case.sol";
import {Dispute} from "../../src/staking/Dispute.sol";
import {IStaking} from "../../src/staking/interfaces/IStaking.sol";
import {Role} from "../../src/staking/Role.sol";
import {DisputeBase, Receipts} from "./DisputeBase.sol";

contract DisputeTest is DisputeBase {
    // Opening.

    function test_a_disputed_batch_is_held_until_the_case_ends() public {
        uint256 id = _openReceipt();
        (, uint16 open,) = receipts.batches(NODE, root);
        assertEq(open, 1, "held");
        assertEq(coin.balanceOf(address(dispute)), BOND, "bond");
        assertEq(dispute.caseOf(id).subject.accused, NODE, "accused");
        assertEq(dispute.caseCount(), 1, "count");
        _skip(30 days);
        assertFalse(receipts.isFinal(NODE, root), "held past its time");
        dispute.tally(id);
        _finalise(id);
        assertTrue(receipts.isFinal(NODE, root), "released");
    }

    function test_what_cannot_be_opened() public {
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.ReceiptUnknown.selector, NODE, root, SALT));
        dispute.openReceipt(NODE, root, SALT, new bytes32[](0), "evidence");
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.GroundUnfit.selector, Ground.Shares));
        dispute.openContribution(DATANET, NODE, root, Ground.Shares, "evidence");
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.ContributionUnknown.selector, SALT, NODE, root));
        dispute.openContribution(SALT, NODE, root, Ground.Biased, "evidence");
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(Dispute.SelfChallenge.selector, NODE));
        dispute.openContribution(DATANET, NODE, root, Ground.Biased, "evidence");
        uint256 id = _openReceipt();
        vm.prank(V20);
        vm.expectRevert(abi.encodeWithSelector(Dispute.AlreadyOpen.selector, id));
        dispute.openReceipt(NODE, root, RECEIPT, new bytes32[](0), "evidence");
    }

    function test_who_lost_is_not_accused_of_the_same_again() public {
        uint256 id = _openContribution();
        _vote(id, 2, 0, 0);
        _finalise(id);
        uint256 again = _openContribution(); // it was dismissed, on other evidence it may be upheld
        _vote(again, 1, 0, 0);
        _finalise(again);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.AlreadyOpen.selector, again));
        dispute.openContribution(DATANET, NODE, root, Ground.Adversarial, "evidence");
    }

    function test_a_final_batch_cannot_be_disputed() public {
        _skip(3 days);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.BatchFinal.selector, NODE, root));
        dispute.openReceipt(NODE, root, RECEIPT, new bytes32[](0), "evidence");
    }

    function test_a_batch_held_by_another_case_cannot_be_disputed_after_its_time() public {
        receipts.hold(NODE, root);
        _skip(3 days);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Receipts.Late.selector));
        dispute.openReceipt(NODE, root, RECEIPT, new bytes32[](0), "evidence");
    }

    function test_a_subject_can_be_disputed_again_when_its_case_is_closed() public {
        uint256 id = _openContribution();
        _vote(id, 2, 0, 0);
        _finalise(id);
        assertEq(_openContribution(), id + 1, "again");
    }

    function test_unknown_cases_have_no_phase() public {
        vm.expectRevert(abi.encodeWithSelector(Dispute.CaseUnknown.selector, 0));
        dispute.phaseOf(0);
    }

    // Defence.

    function test_only_the_accused_defends_once_and_in_time() public {
        uint256 id = _openReceipt();
        vm.prank(V20);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotAccused.selector, id, V20));
        dispute.defend(id);
        _defend(id);
        vm.expectRevert(abi.encodeWithSelector(Dispute.AlreadyDefended.selector, id));
        _defend(id);
        uint256 other = _openContribution();
        _skip(2 days);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, other, Phase.Commit));
        _defend(other);
    }

    // Voting.

    function test_votes_are_committed_and_revealed_in_their_windows() public {
        uint256 id = _openReceipt();
        bytes32 commitment = dispute.commitmentOf(id, V50, true, SALT);
        vm.prank(V50);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Defence));
        dispute.commit(id, commitment);
        _skip(2 days);
        _commit(id, V50, true);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Commit));
        dispute.reveal(id, V50, true, SALT);
        _skip(2 days);
        vm.prank(V30);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Reveal));
        dispute.commit(id, commitment);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Reveal));
        dispute.tally(id);
        dispute.reveal(id, V50, true, SALT);
        _skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Tally));
        dispute.reveal(id, V50, true, SALT);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Tally));
        dispute.finalise(id);
        dispute.tally(id);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Appeal));
        dispute.finalise(id);
    }

    function test_only_staked_strangers_vote_and_once() public {
        _stake(CAROL, V, CHALLENGER, 1 ether);
        _stake(CAROL, V, NODE, 1 ether);
        _skip(1);
        uint256 id = _openReceipt();
        _stake(CAROL, V, CAROL, 1 ether);
        _skip(2 days);
        vm.prank(CAROL);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NoWeight.selector, id, CAROL));
        dispute.commit(id, SALT);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.PartyVotes.selector, id, CHALLENGER));
        dispute.commit(id, SALT);
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(Dispute.PartyVotes.selector, id, NODE));
        dispute.commit(id, SALT);
        vm.prank(V50);
        vm.expectRevert(abi.encodeWithSelector(Ballots.CommitmentEmpty.selector));
        dispute.commit(id, 0);
        _commit(id, V50, true);
        vm.prank(V50);
        vm.expectRevert(abi.encodeWithSelector(Ballots.AlreadyCommitted.selector, id, V50));
        dispute.commit(id, SALT);
        _skip(2 days);
        dispute.reveal(id, V50, true, SALT);
        vm.expectRevert(abi.encodeWithSelector(Ballots.AlreadyRevealed.selector, id, V50));
        dispute.reveal(id, V50, true, SALT);
        (uint120 upheld, uint120 dismissed) = dispute.sides(id);
        assertEq(upheld, 50 ether, "once");
        assertEq(dismissed, 0, "and on one side");
    }

    function test_a_copied_or_changed_commitment_cannot_be_revealed() public {
        uint256 id = _openReceipt();
        _skip(2 days);
        bytes32 commitment = dispute.commitmentOf(id, V50, true, SALT);
        vm.prank(V50);
        dispute.commit(id, commitment);
        vm.prank(V30);
        dispute.commit(id, commitment);
        _skip(2 days);
        vm.expectRevert(abi.encodeWithSelector(Ballots.CommitmentUnmatched.selector, id, V30));
        dispute.reveal(id, V30, true, SALT);
        vm.expectRevert(abi.encodeWithSelector(Ballots.CommitmentUnmatched.selector, id, V50));
        dispute.reveal(id, V50, false, SALT);
        vm.expectRevert(abi.encodeWithSelector(Ballots.CommitmentUnmatched.selector, id, V20));
        dispute.reveal(id, V20, true, SALT);
        dispute.reveal(id, V50, true, SALT);
    }

    function test_a_commitment_is_for_one_chain_contract_case_voter_choice_and_salt() public {
        bytes32 one = dispute.commitmentOf(0, V50, true, SALT);
        assertTrue(one != dispute.commitmentOf(1, V50, true, SALT), "case");
        assertTrue(one != dispute.commitmentOf(0, V30, true, SALT), "voter");
        assertTrue(one != dispute.commitmentOf(0, V50, false, SALT), "choice");
        assertTrue(one != dispute.commitmentOf(0, V50, true, RECEIPT), "salt");
        Dispute other =
            new Dispute(coin, address(roles), IStaking(address(staking)), receipts, contributions, _terms());
        assertTrue(one != other.commitmentOf(0, V50, true, SALT), "contract");
        vm.chainId(2);
        assertTrue(one != dispute.commitmentOf(0, V50, true, SALT), "chain");
    }

    function test_weight_is_the_stake_just_before_the_case_opened() public {
        _stake(CAROL, V, V50, 1_000 ether);
        uint256 id = _openReceipt();
        assertEq(dispute.weightOf(id, V50), 50 ether, "the same second does not count");
        _skip(8 days);
        _unbond(V30, V, V30, _sharesOf(V30, V, V30));
        assertEq(dispute.weightOf(id, V50), 50 ether, "no more than at opening");
        assertEq(dispute.weightOf(id, V30), 30 ether, "no less either");
    }

    function test_under_the_quorum_or_in_a_tie_nothing_is_decided_and_bonds_return() public {
        uint256 id = _openReceipt();
        _defend(id);
        _vote(id, 0, 1, 0);
        assertTrue(dispute.caseOf(id).progress.verdict == Verdict.Undecided, "30 of 100 is under 40");
        _finalise(id);
        assertEq(dispute.credits(CHALLENGER), BOND, "challenger");
        assertEq(dispute.credits(NODE), BOND, "accused");
        id = _openContribution();
        _vote(id, 1, 2, 2);
        assertTrue(dispute.caseOf(id).progress.verdict == Verdict.Undecided, "a tie");
        _finalise(id);
        assertEq(dispute.credits(CHALLENGER), 2 * BOND, "challenger again");
        assertEq(contributions.statusOf(DATANET, NODE, root), 2, "stays");
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, V50));
        dispute.claim(id, V50);
    }

    // Verdicts.

    function test_upheld_rejects_the_batch_slashes_penalises_and_splits_the_bond() public {
        uint256 id = _openReceipt();
        _defend(id);
        _vote(id, 1, 2, 1);
        _finalise(id);
        (, uint16 open, bool rejected) = receipts.batches(NODE, root);
        assertTrue(rejected && open == 0, "rejected");
        (address operator, Role role,, uint16 bps,, bytes32 evidence) = staking.slashes(0);
        assertEq(operator, NODE, "slashed");
        assertTrue(role == Role.Agent, "as an agent");
        assertEq(bps, 1_000, "part");
        assertEq(evidence, "evidence", "evidence");
        assertEq(staking.vaultOf(Role.Agent, NODE).penalty, 60, "penalty");
        // 101 lost: 50 to the winner, 51 to 50 and 20 of weight.
        assertEq(dispute.credits(CHALLENGER), BOND + 50, "challenger");
        assertEq(dispute.claim(id, V50), 36, "50/70 of 51");
        assertEq(dispute.claim(id, V20), 15, "the rest");
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, V30));
        dispute.claim(id, V30);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, V20));
        dispute.claim(id, V20);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, CAROL));
        dispute.claim(id, CAROL);
        uint256 before = coin.balanceOf(CHALLENGER);
        assertEq(dispute.withdraw(CHALLENGER), BOND + 50, "paid");
        assertEq(coin.balanceOf(CHALLENGER) - before, BOND + 50, "to the account");
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToWithdraw.selector, CHALLENGER));
        dispute.withdraw(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Closed));
        dispute.finalise(id);
    }

    function test_dismissed_releases_the_batch_and_the_accused_wins_even_undefended() public {
        uint256 id = _openReceipt();
        _vote(id, 2, 0, 0);
        _finalise(id);
        (, uint16 open, bool rejected) = receipts.batches(NODE, root);
        assertTrue(!rejected && open == 0, "released");
        assertEq(dispute.credits(NODE), 50, "half");
        assertEq(dispute.credits(CHALLENGER), 0, "lost");
        assertEq(dispute.claim(id, V50), 51, "half");
        assertEq(staking.slashCount(), 0, "no slash");
        assertEq(staking.vaultOf(Role.Agent, NODE).penalty, 0, "no penalty");
    }

    function test_upheld_undefended_returns_the_challengers_bond() public {
        uint256 id = _openContribution();
        _vote(id, 1, 1, 1);
        _finalise(id);
        assertEq(dispute.credits(CHALLENGER), BOND, "no more and no less");
        assertEq(contributions.statusOf(DATANET, NODE, root), 4, "revoked");
        (, Role role,,,,) = staking.slashes(0);
        assertTrue(role == Role.Contributor, "as a contributor");
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, V50));
        dispute.claim(id, V50);
    }

    function test_an_accused_without_stake_is_penalised_but_not_slashed() public {
        contributions.contribute(SALT, ALICE, root);
        vm.prank(CHALLENGER);
        uint256 id = dispute.openContribution(SALT, ALICE, root, Ground.Adversarial, "evidence");
        _vote(id, 1, 0, 0);
        _finalise(id);
        assertEq(staking.slashCount(), 0, "nothing to slash");
        assertEq(staking.vaultOf(Role.Contributor, ALICE).penalty, 60, "penalty");
        assertEq(dispute.caseOf(id).progress.due, 0, "nothing due");
    }

    function test_the_accused_cannot_leave_before_the_verdict() public {
        uint256 id = _openReceipt();
        _skip(7 days - 1 hours);
        _unbond(NODE, Role.Agent, NODE, _sharesOf(NODE, Role.Agent, NODE));
        dispute.tally(id);
        vm.prank(CHALLENGER);
        dispute.appeal(id);
        _skip(14 days - 1);
        dispute.rule(id, true);
        _skip(28 days);
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSignature("SlashPending(uint8,address)", uint8(Role.Agent), NODE));
        staking.withdraw(Role.Agent, NODE, 0);
        staking.executeSlash(0);
        assertEq(coin.balanceOf(INSURANCE), 100 ether, "the queue paid");
    }

    // Appeal.

    function test_only_a_party_that_has_not_won_appeals_in_time() public {
        uint256 id = _openReceipt();
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Defence));
        dispute.appeal(id);
        _vote(id, 1, 0, 0);
        vm.prank(CAROL);
        vm.expectRevert(abi.encodeWithSelector(Dispute.NotParty.selector, id, CAROL));
        dispute.appeal(id);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.AppealByWinner.selector, id, CHALLENGER));
        dispute.appeal(id);
        vm.prank(NODE);
        dispute.appeal(id);
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Ruling));
        dispute.appeal(id);
        uint256 late = _openContribution();
        _vote(late, 2, 0, 0);
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(Dispute.AppealByWinner.selector, late, NODE));
        dispute.appeal(late);
        _skip(3 days);
        vm.prank(CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, late, Phase.Decided));
        dispute.appeal(late);
    }

    function test_governance_overturns_and_the_voters_it_agrees_with_are_paid() public {
        uint256 id = _openReceipt();
        _defend(id);
        _vote(id, 1, 2, 0);
        vm.prank(NODE);
        dispute.appeal(id);
        assertEq(coin.balanceOf(address(dispute)), 4 * BOND, "all bonds");
        dispute.rule(id, false);
        assertEq(dispute.credits(NODE), 3 * BOND + 50, "accused");
        assertEq(dispute.claim(id, V30), 51, "who was right");
        vm.expectRevert(abi.encodeWithSelector(Dispute.NothingToClaim.selector, id, V50));
        dispute.claim(id, V50);
        assertEq(dispute.credits(CHALLENGER), 0, "lost");
    }

    function test_governance_may_find_what_no_voter_found_and_insurance_gets_their_part() public {
        uint256 id = _openReceipt();
        _vote(id, 1, 0, 0);
        vm.prank(NODE);
        dispute.appeal(id);
        dispute.rule(id, false);
        assertEq(dispute.credits(NODE), 2 * BOND + 50, "accused");
        assertEq(dispute.credits(INSURANCE), 51, "insurance");
        dispute.withdraw(INSURANCE);
        assertEq(coin.balanceOf(INSURANCE), 51, "paid out by anybody");
    }

    function test_without_a_ruling_in_time_the_vote_stands_and_the_appeal_is_lost() public {
        uint256 id = _openReceipt();
        _vote(id, 1, 0, 0);
        vm.prank(NODE);
        dispute.appeal(id);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Ruling));
        dispute.finalise(id);
        _skip(14 days);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Decided));
        dispute.rule(id, false);
        dispute.finalise(id);
        assertEq(dispute.credits(CHALLENGER), 2 * BOND, "half of two bonds and its own");
        assertEq(dispute.claim(id, V50), BOND, "the other half");
    }

    function test_an_undecided_case_nobody_rules_on_returns_all_bonds() public {
        uint256 id = _openReceipt();
        _vote(id, 0, 0, 0);
        vm.prank(CHALLENGER);
        dispute.appeal(id);
        _skip(14 days);
        dispute.finalise(id);
        assertEq(dispute.credits(CHALLENGER), 3 * BOND, "all of it");
    }

    // Consequences.

    function test_a_consequence_that_fails_holds_up_nothing_and_can_be_retried() public {
        uint256 id = _openReceipt();
        _vote(id, 1, 0, 0);
        receipts.breakDown(true);
        vm.expectRevert(abi.encodeWithSelector(Dispute.WrongPhase.selector, id, Phase.Appeal));
        dispute.enforce(id, 1);
        _finalise(id);
        assertEq(dispute.credits(CHALLENGER), BOND, "money does not wait");
        assertEq(staking.slashCount(), 1, "nor does the slash");
        assertEq(dispute.caseOf(id).progress.due, 1, "the batch is due");
        vm.expectRevert(abi.encodeWithSelector(Receipts.Broken.selector));
        dispute.enforce(id, 1);
        receipts.breakDown(false);
        dispute.enforce(id, 1);
        (,, bool rejected) = receipts.batches(NODE, root);
        assertTrue(rejected, "rejected");
        for (uint8 bits = 0; bits < 8; ++bits) {
            vm.expectRevert(abi.encodeWithSelector(Dispute.NothingDue.selector, id, bits));
            dispute.enforce(id, bits);
        }
    }

    function test_closing_with_little_gas_loses_no_consequence() public {
        uint256 id = _openReceipt();
        _vote(id, 1, 0, 0);
        _skip(3 days);
        bool closed;
        for (uint256 gasLimit = 100_000; !closed; gasLimit += 500) {
            try dispute.finalise{gas: gasLimit}(id) {
                closed = true;
            } catch {}
        }
        uint8 due = dispute.caseOf(id).progress.due;
        assertTrue(due != 0, "some consequence ran out of gas");
        for (uint8 one = 1; one <= 4; one <<= 1) if (due & one != 0) dispute.enforce(id, one);
        assertEq(dispute.caseOf(id).progress.due, 0, "none left");
        (,, bool rejected) = receipts.batches(NODE, root);
        assertTrue(rejected, "rejected");
        assertEq(staking.slashCount(), 1, "slashed once");
        assertEq(staking.vaultOf(Role.Agent, NODE).penalty, 60, "penalised once");
    }

    // Governance.

    function test_terms_do_not_reach_open_cases() public {
        uint256 id = _openReceipt();
        Terms memory t = _terms();
        (t.bond, t.defence, t.slashBps, t.penalty, t.quorumBps) = (7, 1, 0, 0, 10_000);
        dispute.setTerms(t);
        _defend(id);
        assertEq(coin.balanceOf(address(dispute)), 2 * BOND, "the bond it opened with");
        _vote(id, 1, 0, 0);
        _finalise(id);
        assertEq(staking.slashCount(), 1, "the slash it opened with");
        uint256 later = _openContribution();
        assertEq(dispute.caseOf(later).terms.bond, 7, "later cases");
        _skip(30 days);
        dispute.tally(later);
        _finalise(later);
    }

    function test_a_slash_and_a_penalty_of_nothing_are_not_due() public {
        Terms memory t = _terms();
        (t.slashBps, t.penalty) = (0, 0);
        dispute.setTerms(t);
        uint256 id = _openReceipt();
        _vote(id, 1, 0, 0);
        _finalise(id);
        assertEq(staking.slashCount(), 0, "no slash");
        assertEq(staking.vaultOf(Role.Agent, NODE).penalty, 0, "no penalty");
    }

    function test_terms_have_bounds() public {
        Terms memory t = _terms();
        t.bond = 0;
        vm.expectRevert(abi.encodeWithSelector(Dispute.BondZero.selector));
        dispute.setTerms(t);
        t = _terms();
        t.quorumBps = 0;
        vm.expectRevert(abi.encodeWithSelector(Dispute.BpsOutOfRange.selector, 0));
        dispute.setTerms(t);
        t.quorumBps = 10_001;
        vm.expectRevert(abi.encodeWithSelector(Dispute.BpsOutOfRange.selector, 10_001));
        dispute.setTerms(t);
        t = _terms();
        t.slashBps = 10_001;
        vm.expectRevert(abi.encodeWithSelector(Dispute.BpsOutOfRange.selector, 10_001));
        dispute.setTerms(t);
        t = _terms();
        t.reveal = 0;
        vm.expectRevert(abi.encodeWithSelector(Dispute.WindowOutOfRange.selector, 0));
        dispute.setTerms(t);
        t.reveal = 61 days;
        vm.expectRevert(abi.encodeWithSelector(Dispute.WindowOutOfRange.selector, 61 days));
        dispute.setTerms(t);
    }

    function test_only_governance_rules_and_sets_terms() public {
        bytes[3] memory calls = [
            abi.encodeCall(Dispute.rule, (0, true)),
            abi.encodeCall(Dispute.setTerms, (_terms())),
            abi.encodeCall(Pausing.pause, (1))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(CAROL);
            (bool done, bytes memory answer) = address(dispute).call(calls[i]);
            assertFalse(done, "a stranger got in");
            assertEq(
                keccak256(answer),
                keccak256(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, CAROL)),
                "why not"
            );
        }
    }

    function test_a_pause_flag_blocks_exactly_its_function() public {
        vm.prank(GUARD);
        dispute.pause(1);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, 0));
        _openReceipt();
        uint256 id = _openContribution();
        _vote(id, 2, 0, 0);
        _finalise(id);
        dispute.unpause(1);
        vm.prank(GUARD);
        dispute.pause(2);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, 1));
        _openContribution();
        vm.warp(block.timestamp);
        receipts.log(NODE, root, uint40(block.timestamp + 1 days));
        id = _openReceipt();
        vm.prank(GUARD);
        dispute.pause(7);
        _defend(id);
        _vote(id, 1, 0, 0);
        _finalise(id);
        assertEq(dispute.claim(id, V50), 51, "cases go on");
        vm.prank(GUARD);
        vm.expectRevert(abi.encodeWithSelector(Pausing.ExitsPausedLately.selector, uint40(block.timestamp - 8 days + 7 days)));
        dispute.pause(4);
        dispute.withdraw(CHALLENGER);
    }

    function test_a_paused_exit_opens_by_itself() public {
        uint256 id = _openContribution();
        _vote(id, 2, 0, 0);
        _finalise(id);
        vm.prank(GUARD);
        dispute.pause(7);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, 2));
        dispute.withdraw(NODE);
        _skip(7 days);
        assertEq(dispute.withdraw(NODE), 50, "open");
    }

    // Fuzz.

    function testFuzz_the_loser_pays_exactly_what_the_others_get(
        uint96 bond,
        uint8[3] calldata votes,
        bool defended,
        uint8 appealed
    ) public {
        Terms memory t = _terms();
        t.bond = uint96(bound(bond, 1, 1e26));
        dispute.setTerms(t);
        uint256 before = coin.balanceOf(CHALLENGER) + coin.balanceOf(NODE);
        uint256 id = _openReceipt();
        if (defended) _defend(id);
        _vote(id, votes[0] % 3, votes[1] % 3, votes[2] % 3);
        Verdict verdict = dispute.caseOf(id).progress.verdict;
        if (appealed % 3 == 0) {
            _finalise(id);
        } else {
            vm.prank(verdict == Verdict.Upheld ? NODE : CHALLENGER);
            dispute.appeal(id);
            dispute.rule(id, appealed % 2 == 0);
        }
        address[6] memory all = [V50, V30, V20, CHALLENGER, NODE, INSURANCE];
        for (uint256 i = 0; i < 3; ++i) try dispute.claim(id, all[(i + appealed) % 3]) {} catch {}
        uint256 sum;
        for (uint256 i = 0; i < all.length; ++i) sum += dispute.credits(all[i]);
        assertEq(sum, coin.balanceOf(address(dispute)), "bonds out");
        for (uint256 i = 0; i < all.length; ++i) if (dispute.credits(all[i]) != 0) dispute.withdraw(all[i]);
        assertEq(coin.balanceOf(address(dispute)), 0, "nothing stays");
        assertLe(coin.balanceOf(CHALLENGER) + coin.balanceOf(NODE), before, "parties get no more than they put in");
        (, uint16 open,) = receipts.batches(NODE, root);
        assertEq(open, 0, "never left held");
    }
}
