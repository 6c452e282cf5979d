// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {AccessGrants} from "../../src/registry/AccessGrants.sol";
import {AgentRegistry} from "../../src/registry/AgentRegistry.sol";
import {ContributionRegistry} from "../../src/registry/ContributionRegistry.sol";
import {DatanetRegistry} from "../../src/registry/DatanetRegistry.sol";
import {DatanetVersion} from "../../src/registry/DatanetVersion.sol";
import {ModelRegistry} from "../../src/registry/ModelRegistry.sol";
import {Registry} from "../../src/registry/Registry.sol";
import {RegistryProxy} from "../../src/registry/RegistryProxy.sol";
import {AgentWallet, Contribution, Grant} from "../../src/registry/Statements.sol";
import {RegistryTest} from "./RegistryTest.sol";

/// A later DatanetRegistry: the same storage, and some of its own beside it.
contract DatanetRegistryV2 is DatanetRegistry {
    /// @custom:storage-location erc7201:openledger.storage.DatanetRegistryV2
    struct V2Storage {
        uint256 fee;
    }

    bytes32 private constant V2_STORAGE =
        keccak256(abi.encode(uint256(keccak256("openledger.storage.DatanetRegistryV2")) - 1)) & ~bytes32(uint256(0xff));

    function initializeV2(uint256 fee) external reinitializer(2) {
        _v2().fee = fee;
    }

    function feeOf() external view returns (uint256) {
        return _v2().fee;
    }

    function _v2() private pure returns (V2Storage storage $) {
        bytes32 slot = V2_STORAGE;
        assembly {
            $.slot := slot
        }
    }
}

/// What the registries share: proxies, upgrades, storage, pausing.
contract SharedTest is RegistryTest {
    bytes32 private constant IMPLEMENTATION = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    function registries() private view returns (Registry[5] memory) {
        return [Registry(datanets), contributions, access, models, agents];
    }

    function test_a_registry_is_initialised_once() public {
        Registry[5] memory all = registries();
        for (uint256 i = 0; i < all.length; ++i) {
            assertEq(all[i].authority(), address(roles), "authority");
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            DatanetRegistry(address(all[i])).initialize(other);
        }
    }

    function test_an_implementation_is_locked() public {
        Registry[5] memory all = registries();
        for (uint256 i = 0; i < all.length; ++i) {
            address implementation = implementationOf(all[i]);
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            DatanetRegistry(implementation).initialize(other);
            vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
            Registry(implementation).upgradeToAndCall(implementation, "");
        }
    }

    function test_a_proxy_without_initialisation_is_not_deployed() public {
        address implementation = implementationOf(datanets);
        vm.expectRevert(ERC1967Proxy.ERC1967ProxyUninitialized.selector);
        new RegistryProxy(implementation, "");
    }

    function testFuzz_only_the_admin_upgrades(address caller) public {
        vm.assume(caller != address(this));
        address next = address(new DatanetRegistryV2());
        Registry[5] memory all = registries();
        for (uint256 i = 0; i < all.length; ++i) {
            address before = implementationOf(all[i]);
            vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, caller));
            vm.prank(caller);
            all[i].upgradeToAndCall(next, "");
            assertEq(implementationOf(all[i]), before, "code stays");
            all[i].upgradeToAndCall(next, "");
            assertEq(implementationOf(all[i]), next, "the admin changes it");
        }
    }

    function test_storage_survives_an_upgrade() public {
        bytes32 id = create("bread");
        vm.startPrank(owner);
        datanets.publish(id, bytes32(uint256(3)), 1);
        datanets.setContributor(id, other, true);
        datanets.offerOwnership(id, other);
        vm.stopPrank();
        datanets.pause(2);
        bytes32 before = keccak256(abi.encode(datanets.datanets(id)));
        datanets.upgradeToAndCall(
            address(new DatanetRegistryV2()), abi.encodeCall(DatanetRegistryV2.initializeV2, (42))
        );
        assertEq(keccak256(abi.encode(datanets.datanets(id))), before, "Datanet");
        assertEq(datanets.roots(id, 1), bytes32(uint256(3)), "root");
        assertTrue(datanets.isApproved(id, other) && datanets.isPaused(1), "approval and pause");
        assertEq(datanets.pendingOwnerOf(id), other, "offer");
        assertEq(datanets.datanetId(owner, "bread"), id, "ids are the proxy's");
        assertEq(datanets.authority(), address(roles), "authority");
        DatanetRegistryV2 v2 = DatanetRegistryV2(address(datanets));
        assertEq(v2.feeOf(), 42, "what is new");
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        v2.initializeV2(1);
        vm.prank(other);
        datanets.acceptOwnership(id);
        assertEq(datanets.ownerOf(id), other, "it goes on");
    }

    /// Each namespace is read at the slot that ERC-7201 derives from its name.
    function test_storage_lies_where_erc_7201_says() public {
        bytes32 id = create("bread");
        bytes32 word = vm.load(address(datanets), at(id, slotOf("DatanetRegistry")));
        assertEq(address(uint160(uint256(word))), owner, "Datanets");

        vm.prank(owner);
        contributions.contributeBatch(id, bytes32(uint256(9)), 77, 0);
        bytes32 slot = at(bytes32(uint256(9)), at(bytes32(uint256(uint160(owner))), at(id, slotOf("ContributionRegistry"))));
        word = vm.load(address(contributions), slot);
        assertEq(uint40(uint256(word)), block.timestamp, "time of a contribution");
        assertEq(uint64(uint256(word) >> 40), 77, "rows of a contribution");
        assertEq(uint256(word) >> 104, 1, "status of a contribution, and no more");

        Grant memory g = Grant(id, 0, 3, 0, other, 5, type(uint64).max, owner, 0, type(uint64).max);
        vm.prank(owner);
        bytes32 grant = access.grant(g);
        word = vm.load(address(access), at(grant, slotOf("AccessGrants")));
        assertEq(uint64(uint256(word)), 5, "grants");

        vm.prank(owner);
        models.register(bytes32(uint256(7)), bytes32(uint256(8)), 0, new DatanetVersion[](0), 0, 0);
        slot = at(bytes32(uint256(7)), at(bytes32(uint256(uint160(owner))), slotOf("ModelRegistry")));
        assertEq(vm.load(address(models), slot), bytes32(uint256(8)), "models");

        vm.prank(owner);
        bytes32 agent = agents.register("baker", 0);
        word = vm.load(address(agents), at(agent, bytes32(uint256(slotOf("AgentRegistry")) + 1)));
        assertEq(address(uint160(uint256(word))), owner, "agents");

        datanets.pause(3);
        assertEq(uint256(vm.load(address(datanets), slotOf("Registry"))), 3, "pause");
        Registry[5] memory all = registries();
        for (uint256 i = 0; i < all.length; ++i) {
            for (uint256 s = 0; s < 8; ++s) {
                assertEq(vm.load(address(all[i]), bytes32(s)), bytes32(0), "nothing at the beginning");
            }
        }
    }

    function test_the_guardian_pauses_what_can_be_paused() public {
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = Registry.pause.selector;
        roles.setTargetFunctionRole(address(datanets), selectors, GUARDIAN);
        roles.grantRole(GUARDIAN, guardian, 0);
        vm.startPrank(guardian);
        vm.expectRevert(abi.encodeWithSelector(Registry.FlagsUnknown.selector, 0));
        datanets.pause(0);
        vm.expectRevert(abi.encodeWithSelector(Registry.FlagsUnknown.selector, 5));
        datanets.pause(5);
        vm.expectEmit(address(datanets));
        emit Registry.Paused(3, guardian);
        datanets.pause(3);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, guardian));
        datanets.unpause(3);
        vm.stopPrank();
        vm.expectEmit(address(datanets));
        emit Registry.Unpaused(1, address(this));
        datanets.unpause(1);
        assertFalse(datanets.isPaused(0), "open");
        assertTrue(datanets.isPaused(1), "still paused");
    }

    /// Pauses one flag after the other and tries every function: exactly the flag's one is refused.
    function test_a_flag_blocks_exactly_its_function() public {
        (Registry[9] memory where, uint8[9] memory flags, bytes[9] memory calls) = pausables();
        for (uint256 paused = 0; paused < calls.length; ++paused) {
            where[paused].pause(uint128(1) << flags[paused]);
            for (uint256 i = 0; i < calls.length; ++i) {
                vm.prank(owner);
                (bool done, bytes memory why) = address(where[i]).call(calls[i]);
                bytes memory refusal = abi.encodeWithSelector(Registry.FunctionPaused.selector, flags[i]);
                bool refused = !done && keccak256(why) == keccak256(refusal);
                assertTrue(refused == (i == paused), "refused if and only if it is this one");
            }
            where[paused].unpause(uint128(1) << flags[paused]);
        }
    }

    function test_no_more_flags_exist_than_are_tried() public view {
        (Registry[9] memory where, uint8[9] memory flags,) = pausables();
        Registry[5] memory all = registries();
        for (uint256 r = 0; r < all.length; ++r) {
            uint128 tried;
            for (uint256 i = 0; i < where.length; ++i) {
                if (where[i] == all[r]) tried |= uint128(1) << flags[i];
            }
            assertEq(all[r].pausable(), tried, "flags");
        }
    }

    function test_ways_out_have_no_flag() public {
        bytes32 id = create("bread");
        vm.prank(other);
        contributions.contribute(id, bytes32(uint256(1)), 0);
        Registry[5] memory all = registries();
        for (uint256 i = 0; i < all.length; ++i) all[i].pause(all[i].pausable());
        vm.prank(other);
        contributions.revoke(id, bytes32(uint256(1)));
        vm.prank(other);
        contributions.contribute(id, bytes32(uint256(2)), 0);
        vm.startPrank(owner);
        datanets.offerOwnership(id, other);
        contributions.reject(id, other, bytes32(uint256(2)));
        datanets.close(id);
        vm.stopPrank();
    }

    function pausables()
        private
        view
        returns (Registry[9] memory where, uint8[9] memory flags, bytes[9] memory calls)
    {
        Contribution memory c;
        Grant memory g;
        AgentWallet memory w;
        g.owner = owner;
        where = [Registry(datanets), datanets, contributions, contributions, access, access, models, agents, agents];
        flags = [0, 1, 0, 1, 0, 1, 0, 0, 1];
        calls = [
            abi.encodeCall(DatanetRegistry.create, ("", 0, DatanetRegistry.Kind.Text, false)),
            abi.encodeCall(DatanetRegistry.publish, (0, 0, 0)),
            abi.encodeCall(ContributionRegistry.record, (c, "")),
            abi.encodeCall(ContributionRegistry.accept, (0, other, 0)),
            abi.encodeCall(AccessGrants.request, (0, 0)),
            abi.encodeCall(AccessGrants.grant, (g)),
            abi.encodeCall(ModelRegistry.register, (0, 0, 0, new DatanetVersion[](0), 0, 0)),
            abi.encodeCall(AgentRegistry.register, ("", 0)),
            abi.encodeCall(AgentRegistry.setWallet, (w, ""))
        ];
    }

    function test_linking_is_paused_as_a_whole() public {
        agents.pause(2);
        vm.expectRevert(abi.encodeWithSelector(Registry.FunctionPaused.selector, 1));
        agents.link(0, 0);
        access.pause(2);
        Grant memory g;
        vm.expectRevert(abi.encodeWithSelector(Registry.FunctionPaused.selector, 1));
        access.grantBySig(g, "");
    }

    function slotOf(string memory name) private pure returns (bytes32) {
        bytes32 hash = keccak256(abi.encodePacked("openledger.storage.", name));
        return keccak256(abi.encode(uint256(hash) - 1)) & ~bytes32(uint256(0xff));
    }

    /// The slot of a mapping's value.
    function at(bytes32 key, bytes32 mapping_) private pure returns (bytes32) {
        return keccak256(abi.encode(key, mapping_));
    }

    function implementationOf(Registry registry) private view returns (address) {
        return address(uint160(uint256(vm.load(address(registry), IMPLEMENTATION))));
    }
}
