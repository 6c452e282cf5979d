// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessGrants} from "../../src/registry/AccessGrants.sol";
import {ContributionRegistry} from "../../src/registry/ContributionRegistry.sol";
import {DatanetRegistry} from "../../src/registry/DatanetRegistry.sol";
import {Contribution, Grant, Withdrawal} from "../../src/registry/Statements.sol";
import {RegistryTest} from "./RegistryTest.sol";
import {Test} from "../Test.sol";

/// Few people, few Datanets, few roots: calls meet each other. Everybody tries everything, those
/// more often who may, and whatever succeeds is compared with what the caller was entitled to.
contract Players is Test {
    struct Key {
        bytes32 datanet;
        address contributor;
        bytes32 root;
    }

    uint256 private constant PEOPLE = 4;
    uint256 private constant ROOTS = 3;

    DatanetRegistry private immutable DATANETS;
    ContributionRegistry private immutable CONTRIBUTIONS;
    AccessGrants private immutable ACCESS;
    address private immutable DISPUTES;

    bytes32[] public ids;
    mapping(bytes32 id => address) public ownerOf;
    mapping(bytes32 id => address) public pendingOwnerOf;
    mapping(bytes32 id => uint64) public versionsOf;
    mapping(bytes32 id => bool) public closed;

    Key[] public keys;
    mapping(bytes32 key => uint8) public statusOf;
    mapping(bytes32 key => uint256) public taken;

    Grant[] internal given;
    mapping(bytes32 grant => bool) public revoked;

    /// The first thing that happened and must not, for the invariants to show.
    string public wrong;

    constructor(DatanetRegistry datanets, ContributionRegistry contributions, AccessGrants access, address disputes) {
        (DATANETS, CONTRIBUTIONS, ACCESS, DISPUTES) = (datanets, contributions, access, disputes);
    }

    function create(uint256 who, uint256 name, bool isPrivate) external {
        address by = person(who);
        string memory named = name % 4 == 0 ? "birds" : "bread";
        vm.prank(by);
        try DATANETS.create(named, 0, DatanetRegistry.Kind.Text, isPrivate) returns (bytes32 id) {
            if (ownerOf[id] != address(0)) wrong = "an id was created twice";
            ownerOf[id] = by;
            ids.push(id);
        } catch {}
    }

    function offer(uint256 who, uint256 which, uint256 to) external {
        bytes32 id = datanet(which);
        address by = oneOf(who, ownerOf[id]);
        vm.prank(by);
        try DATANETS.offerOwnership(id, person(to)) {
            if (by != ownerOf[id]) wrong = "a stranger offered a Datanet";
            pendingOwnerOf[id] = person(to);
        } catch {}
    }

    function take(uint256 who, uint256 which) external {
        bytes32 id = datanet(which);
        address by = oneOf(who, who % 4 == 0 ? ownerOf[id] : pendingOwnerOf[id]);
        vm.prank(by);
        try DATANETS.acceptOwnership(id) {
            if (by != pendingOwnerOf[id]) wrong = "a stranger took a Datanet";
            ownerOf[id] = by;
            pendingOwnerOf[id] = address(0);
        } catch {}
    }

    function approve(uint256 who, uint256 which, uint256 whom, bool approved) external {
        bytes32 id = datanet(which);
        address by = oneOf(who, ownerOf[id]);
        vm.prank(by);
        try DATANETS.setContributor(id, person(whom), approved) {
            if (by != ownerOf[id]) wrong = "a stranger approved";
        } catch {}
    }

    function publish(uint256 who, uint256 which, bytes32 root) external {
        bytes32 id = datanet(which);
        address by = oneOf(who, ownerOf[id]);
        vm.prank(by);
        try DATANETS.publish(id, root, 1) returns (uint64 version) {
            if (by != ownerOf[id] || closed[id]) wrong = "published without right";
            if (version != ++versionsOf[id]) wrong = "a version was skipped";
        } catch {}
    }

    function close(uint256 who, uint256 which, uint256 rarely) external {
        if (rarely % 8 != 0) return;
        bytes32 id = datanet(which);
        address by = oneOf(who, ownerOf[id]);
        vm.prank(by);
        try DATANETS.close(id) {
            if (by != ownerOf[id]) wrong = "a stranger closed a Datanet";
            closed[id] = true;
        } catch {}
    }

    function contribute(uint256 who, uint256 which, uint256 what, uint64 rows) external {
        Key memory k = Key(datanet(which), person(who), root_(what));
        vm.prank(k.contributor);
        if (rows % 2 == 0) {
            try CONTRIBUTIONS.contribute(k.datanet, k.root, 0) {
                move(k, 1);
            } catch {}
        } else {
            try CONTRIBUTIONS.contributeBatch(k.datanet, k.root, rows, 0) {
                move(k, 1);
            } catch {}
        }
    }

    function record(uint256 who, uint256 which, uint256 whose, uint256 what) external {
        Key memory k = Key(datanet(which), person(whose), root_(what));
        Contribution memory c = Contribution(k.datanet, k.root, 2, 2, 0, k.contributor, 0, type(uint64).max);
        bytes32 typehash = keccak256(
            "Contribution(bytes32 datanet,bytes32 root,uint64 rows,uint64 size,bytes32 terms,address contributor,uint256 nonce,uint64 deadline)"
        );
        bytes memory consent = sign(whose, address(CONTRIBUTIONS), keccak256(abi.encode(typehash, c)));
        address by = oneOf(who, ownerOf[k.datanet]);
        vm.prank(by);
        try CONTRIBUTIONS.record(c, consent) {
            if (by != ownerOf[k.datanet] || closed[k.datanet]) wrong = "recorded without right";
            move(k, 2);
        } catch {}
    }

    function decide(uint256 who, uint256 which, uint256 whose, uint256 what, bool yes) external {
        Key memory k = Key(datanet(which), person(whose), root_(what));
        address by = oneOf(who, ownerOf[k.datanet]);
        vm.prank(by);
        if (yes) {
            try CONTRIBUTIONS.accept(k.datanet, k.contributor, k.root) {
                if (by != ownerOf[k.datanet] || closed[k.datanet]) wrong = "accepted without right";
                move(k, 2);
            } catch {}
        } else {
            try CONTRIBUTIONS.reject(k.datanet, k.contributor, k.root) {
                if (by != ownerOf[k.datanet]) wrong = "rejected without right";
                move(k, 3);
            } catch {}
        }
    }

    function withdraw(uint256 who, uint256 which, uint256 what, bool bySig) external {
        Key memory k = Key(datanet(which), person(who), root_(what));
        if (!bySig) {
            vm.prank(k.contributor);
            try CONTRIBUTIONS.revoke(k.datanet, k.root) {
                move(k, 4);
            } catch {}
            return;
        }
        Withdrawal memory w = Withdrawal(k.datanet, k.root, 2, k.contributor, 0, type(uint64).max);
        bytes32 typehash = keccak256(
            "Withdrawal(bytes32 datanet,bytes32 root,uint64 rows,address contributor,uint256 nonce,uint64 deadline)"
        );
        bytes memory consent = sign(who, address(CONTRIBUTIONS), keccak256(abi.encode(typehash, w)));
        try CONTRIBUTIONS.revokeBySig(w, consent) {
            move(k, 4);
        } catch {}
    }

    function dispute(uint256 who, uint256 which, uint256 whose, uint256 what, bool court) external {
        Key memory k = Key(datanet(which), person(whose), root_(what));
        vm.prank(court ? DISPUTES : person(who));
        try CONTRIBUTIONS.revokeDisputed(k.datanet, k.contributor, k.root) {
            if (!court) wrong = "a stranger decided a dispute";
            move(k, 4);
        } catch {}
    }

    function grant(uint256 who, uint256 which, uint256 whom, uint256 nonce, bool bySig) external {
        bytes32 id = datanet(which);
        address by = person(who);
        Grant memory g = Grant(id, 0, 3, 0, person(whom), 0, type(uint64).max, by, nonce % 3, type(uint64).max);
        bytes32 hash = grantHash(g);
        bytes memory consent = sign(who, address(ACCESS), hash);
        bool done;
        if (bySig) {
            try ACCESS.grantBySig(g, consent) {
                done = true;
            } catch {}
        } else {
            vm.prank(by);
            try ACCESS.grant(g) {
                done = true;
            } catch {}
        }
        if (!done) return;
        if (by != ownerOf[id]) wrong = "a stranger granted";
        if (revoked[hash]) wrong = "a revoked grant came back";
        given.push(g);
    }

    function revokeGrant(uint256 who, uint256 which) external {
        if (given.length == 0) return;
        Grant memory g = given[which % given.length];
        address by = oneOf(who, ownerOf[g.datanet]);
        vm.prank(by);
        try ACCESS.revoke(g) {
            if (by != ownerOf[g.datanet]) wrong = "a stranger revoked a grant";
            revoked[grantHash(g)] = true;
        } catch {}
    }

    /// Brings once more what was brought before.
    function replay(uint256 which) external {
        if (given.length == 0) return;
        Grant memory g = given[which % given.length];
        for (uint256 who = 0; who < PEOPLE; ++who) {
            if (person(who) != g.owner) continue;
            try ACCESS.grantBySig(g, sign(who, address(ACCESS), grantHash(g))) {
                wrong = "a grant counted twice";
            } catch {}
        }
    }

    function seize(uint256 who, bool again) external {
        address code = address(this);
        vm.prank(person(who));
        if (again) {
            try DATANETS.initialize(person(who)) {
                wrong = "initialised again";
            } catch {}
        } else {
            try DATANETS.upgradeToAndCall(code, "") {
                wrong = "a stranger upgraded";
            } catch {}
        }
    }

    /// Makes this contract pass for an implementation, so that only the caller is wrong in `seize`.
    function proxiableUUID() external pure returns (bytes32) {
        return 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    }

    function idCount() external view returns (uint256) {
        return ids.length;
    }

    function keyCount() external view returns (uint256) {
        return keys.length;
    }

    function grants() external view returns (Grant[] memory) {
        return given;
    }

    function grantHash(Grant memory g) public pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "Grant(bytes32 datanet,uint64 version,uint8 scope,bytes32 purpose,address grantee,uint64 notBefore,uint64 notAfter,address owner,uint256 nonce,uint64 deadline)"
                ),
                g
            )
        );
    }

    /// Follows a contribution, and notes a step that its status must not take.
    function move(Key memory k, uint8 to) private {
        bytes32 key = keccak256(abi.encode(k));
        uint8 from = statusOf[key];
        if (from == 4) wrong = "something left Revoked";
        if (to == 1 && from != 0) wrong = "something came back to Pending";
        if (to == 3 && from != 1) wrong = "rejected what was not pending";
        if (to == 2 && from > 1) wrong = "accepted what was decided";
        if (from == 0) {
            keys.push(k);
            if (++taken[key] > 1) wrong = "a name was taken twice";
        }
        statusOf[key] = to;
    }

    function sign(uint256 who, address verifier, bytes32 structHash) private view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("OpenLedger"),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
        return signature(who % PEOPLE + 1, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
    }

    /// Often the one who may, else anybody.
    function oneOf(uint256 who, address entitled) private pure returns (address) {
        return who % 2 == 0 && entitled != address(0) ? entitled : person(who / 2);
    }

    function person(uint256 who) private pure returns (address) {
        return vm.addr(who % PEOPLE + 1);
    }

    function datanet(uint256 which) private view returns (bytes32) {
        return ids.length == 0 ? bytes32(0) : ids[which % ids.length];
    }

    function root_(uint256 what) private pure returns (bytes32) {
        return bytes32(what % ROOTS + 1);
    }
}

contract RegistriesInvariants is RegistryTest {
    Players private players;

    function setUp() public override {
        super.setUp();
        players = new Players(datanets, contributions, access, disputes);
        for (uint256 i = 1; i < 4; ++i) players.create(i, i, i == 2);
        targetContract(address(players));
    }

    function invariant_nobody_did_what_he_must_not() public view {
        assertTrue(bytes(players.wrong()).length == 0, players.wrong());
    }

    function invariant_datanets_are_whose_they_should_be() public view {
        for (uint256 i = 0; i < players.idCount(); ++i) {
            bytes32 id = players.ids(i);
            DatanetRegistry.Datanet memory d = datanets.datanets(id);
            assertEq(d.owner, players.ownerOf(id), "owner");
            assertEq(d.versions, players.versionsOf(id), "versions");
            assertTrue(d.closed == players.closed(id), "closed");
            assertTrue((datanets.roots(id, d.versions) != 0) == (d.versions != 0), "every version has a root");
            assertEq(datanets.roots(id, uint64(d.versions) + 1), bytes32(0), "no version ahead");
            for (uint256 j = 0; j < i; ++j) assertTrue(players.ids(j) != id, "ids never collide");
        }
    }

    function invariant_contributions_have_the_status_that_their_story_gives() public view {
        for (uint256 i = 0; i < players.keyCount(); ++i) {
            (bytes32 id, address contributor, bytes32 root) = players.keys(i);
            uint8 expected = players.statusOf(keccak256(abi.encode(id, contributor, root)));
            assertEq(uint8(contributions.statusOf(id, contributor, root)), expected, "status");
        }
    }

    function invariant_a_grant_allows_until_it_is_revoked() public view {
        Grant[] memory given = players.grants();
        for (uint256 i = 0; i < given.length; ++i) {
            bytes32 hash = players.grantHash(given[i]);
            AccessGrants.GrantStatus status = access.grants(hash).status;
            bool revoked = players.revoked(hash);
            assertTrue(status == (revoked ? AccessGrants.GrantStatus.Revoked : AccessGrants.GrantStatus.Granted), "status");
            bool allowed = access.allowed(given[i].datanet, 1, 3, given[i].grantee, uint64(block.timestamp));
            if (!revoked) assertTrue(allowed, "what stands allows");
            if (allowed) assertTrue(standing(given, given[i]), "nothing else allows");
        }
    }

    function standing(Grant[] memory given, Grant memory like) private view returns (bool) {
        for (uint256 i = 0; i < given.length; ++i) {
            bool same = given[i].datanet == like.datanet && given[i].grantee == like.grantee;
            if (same && !players.revoked(players.grantHash(given[i]))) return true;
        }
        return false;
    }
}
