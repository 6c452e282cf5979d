// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Ground, Terms} from "../../src/staking/Case.sol";
import {Dispute} from "../../src/staking/Dispute.sol";
import {IContributions} from "../../src/staking/interfaces/IContributions.sol";
import {IReceipts} from "../../src/staking/interfaces/IReceipts.sol";
import {IStaking} from "../../src/staking/interfaces/IStaking.sol";
import {Role} from "../../src/staking/Role.sol";
import {StakingBase} from "./StakingBase.sol";

/// A log of receipts that counts holds as the real one does, and can be told to fail.
contract Receipts is IReceipts {
    struct Batch {
        uint40 finalAt;
        uint16 open;
        bool rejected;
    }

    mapping(address node => mapping(bytes32 root => Batch)) public batches;
    bool public broken;

    error Broken();
    error Late();
    error NotHeld();

    function log(address node, bytes32 root, uint40 finalAt) external {
        batches[node][root].finalAt = finalAt;
    }

    function breakDown(bool yes) external {
        broken = yes;
    }

    function hold(address node, bytes32 root) external {
        if (block.timestamp >= batches[node][root].finalAt) revert Late();
        ++batches[node][root].open;
    }

    function release(address node, bytes32 root) external {
        _end(node, root);
    }

    function reject(address node, bytes32 root) external {
        _end(node, root);
        batches[node][root].rejected = true;
    }

    function isFinal(address node, bytes32 root) external view returns (bool) {
        Batch memory b = batches[node][root];
        return b.finalAt != 0 && block.timestamp >= b.finalAt && b.open == 0 && !b.rejected;
    }

    function contains(address, bytes32 root, bytes32 receipt, bytes32[] calldata proof) external pure returns (bool) {
        return MerkleProof.verifyCalldata(proof, root, keccak256(bytes.concat(keccak256(abi.encode(receipt)))));
    }

    function _end(address node, bytes32 root) private {
        if (broken) revert Broken();
        if (batches[node][root].open == 0) revert NotHeld();
        --batches[node][root].open;
    }
}

contract Contributions is IContributions {
    mapping(bytes32 datanet => mapping(address contributor => mapping(bytes32 root => uint8))) public statusOf;

    function contribute(bytes32 datanet, address contributor, bytes32 root) external {
        statusOf[datanet][contributor][root] = 2;
    }

    function revokeDisputed(bytes32 datanet, address contributor, bytes32 root) external {
        statusOf[datanet][contributor][root] = 4;
    }
}

/// A dispute contract over real staking, with three validators of weight 50, 30 and 20.
abstract contract DisputeBase is StakingBase {
    Role internal constant V = Role.Validator;
    address internal constant CHALLENGER = address(0xC0DE);
    address internal constant V50 = address(0x50);
    address internal constant V30 = address(0x30);
    address internal constant V20 = address(0x20);
    uint96 internal constant BOND = 101;
    bytes32 internal constant RECEIPT = keccak256("receipt");
    bytes32 internal constant SALT = keccak256("salt");
    bytes32 internal constant DATANET = keccak256("datanet");

    bytes32 internal root = keccak256(bytes.concat(keccak256(abi.encode(RECEIPT))));
    Receipts internal receipts;
    Contributions internal contributions;
    Dispute internal dispute;

    function setUp() public virtual override {
        super.setUp();
        receipts = new Receipts();
        contributions = new Contributions();
        dispute = new Dispute(
            coin, address(roles), IStaking(address(staking)), receipts, contributions, _terms()
        );
        roles.grantRole(DISPUTES, address(dispute), 0);
        _assign(address(dispute), bytes4(keccak256("pause(uint128)")), GUARDIAN);
        address[5] memory people = [CHALLENGER, NODE, V50, V30, V20];
        for (uint256 i = 0; i < people.length; ++i) {
            _rich(people[i]);
            vm.prank(people[i]);
            coin.approve(address(dispute), type(uint256).max);
        }
        _stake(V50, V, V50, 50 ether);
        _stake(V30, V, V30, 30 ether);
        _stake(V20, V, V20, 20 ether);
        _stake(NODE, Role.Agent, NODE, 1_000 ether);
        _stake(NODE, Role.Contributor, NODE, 500 ether);
        receipts.log(NODE, root, uint40(block.timestamp + 3 days));
        contributions.contribute(DATANET, NODE, root);
        _skip(1 hours);
    }

    function _terms() internal pure returns (Terms memory) {
        return Terms({
            bond: BOND,
            defence: 2 days,
            commit: 2 days,
            reveal: 1 days,
            appeal: 3 days,
            ruling: 14 days,
            quorumBps: 4_000,
            slashBps: 1_000,
            penalty: 60
        });
    }

    function _openReceipt() internal returns (uint256) {
        vm.prank(CHALLENGER);
        return dispute.openReceipt(NODE, root, RECEIPT, new bytes32[](0), "evidence");
    }

    function _openContribution() internal returns (uint256) {
        vm.prank(CHALLENGER);
        return dispute.openContribution(DATANET, NODE, root, Ground.Redundant, "evidence");
    }

    function _defend(uint256 id) internal {
        vm.prank(NODE);
        dispute.defend(id);
    }

    function _commit(uint256 id, address voter, bool upheld) internal {
        bytes32 commitment = dispute.commitmentOf(id, voter, upheld, SALT);
        vm.prank(voter);
        dispute.commit(id, commitment);
    }

    /// From the defence to the appeal; a vote is 0 for none, 1 for upheld, 2 for dismissed.
    function _vote(uint256 id, uint8 v50, uint8 v30, uint8 v20) internal {
        address[3] memory voters = [V50, V30, V20];
        uint8[3] memory votes = [v50, v30, v20];
        _skip(2 days);
        for (uint256 i = 0; i < 3; ++i) if (votes[i] != 0) _commit(id, voters[i], votes[i] == 1);
        _skip(2 days);
        for (uint256 i = 0; i < 3; ++i) if (votes[i] != 0) dispute.reveal(id, voters[i], votes[i] == 1, SALT);
        _skip(1 days);
        dispute.tally(id);
    }

    function _finalise(uint256 id) internal {
        _skip(3 days);
        dispute.finalise(id);
    }
}
