// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DatanetVersion} from "../../src/registry/DatanetVersion.sol";
import {ModelRegistry} from "../../src/registry/ModelRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

contract ModelRegistryTest is RegistryTest {
    bytes32 private constant MODEL = keccak256("model");
    bytes32 private constant NEXT = keccak256("next model");
    bytes32 private constant BASE = keccak256("base");
    bytes32 private constant RECORD = keccak256("record");
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = create("bread");
        vm.prank(owner);
        datanets.publish(id, RECORD, 1);
    }

    function test_a_model_is_registered_with_what_it_was_made_of() public {
        DatanetVersion[] memory made = version(id, 1, RECORD);
        vm.expectEmit(address(models));
        emit ModelRegistry.ModelRegistered(owner, MODEL, BASE, RECORD, made);
        vm.expectEmit(address(models));
        emit ModelRegistry.PriceChanged(owner, MODEL, 5, 6);
        register(owner, MODEL, BASE);
        ModelRegistry.Model memory m = models.models(owner, MODEL);
        assertEq(m.parent, BASE, "parent, registered or not");
        assertEq(m.record, RECORD, "record");
        assertTrue(m.priceIn == 5 && m.priceOut == 6, "price");
        assertEq(m.registeredAt, block.timestamp, "time");
        assertEq(m.successor, bytes32(0), "no successor");
        assertStatus(MODEL, ModelRegistry.Status.Active);
    }

    function test_a_registration_is_its_owners_and_happens_once() public {
        register(owner, MODEL, BASE);
        expectModel(ModelRegistry.ModelExists.selector, MODEL);
        register(owner, MODEL, BASE);
        register(other, MODEL, BASE);
        assertTrue(models.statusOf(other, MODEL) == ModelRegistry.Status.Active, "theirs");
    }

    function test_a_model_has_a_hash_and_is_not_its_own_parent() public {
        vm.expectRevert(ModelRegistry.ModelEmpty.selector);
        register(owner, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ParentIsItself.selector, MODEL));
        register(owner, MODEL, MODEL);
    }

    function testFuzz_versions_must_exist(bytes32 datanet, uint64 number, bytes32 root) public {
        vm.assume(datanet != id || number != 1 || root != RECORD);
        DatanetVersion[] memory made = version(datanet, number, root);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.VersionUnknown.selector, datanet, number));
        models.register(MODEL, 0, RECORD, made, 1, 1);
    }

    function test_a_version_without_a_root_does_not_exist() public {
        DatanetVersion[] memory made = version(id, 2, 0);
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.VersionUnknown.selector, id, 2));
        models.register(MODEL, 0, RECORD, made, 1, 1);
    }

    function testFuzz_prices_change_and_nothing_else(uint128 priceIn, uint128 priceOut) public {
        register(owner, MODEL, BASE);
        vm.expectEmit(address(models));
        emit ModelRegistry.PriceChanged(owner, MODEL, priceIn, priceOut);
        vm.prank(owner);
        models.setPrice(MODEL, priceIn, priceOut);
        ModelRegistry.Model memory m = models.models(owner, MODEL);
        assertTrue(m.priceIn == priceIn && m.priceOut == priceOut, "price");
        assertTrue(m.parent == BASE && m.record == RECORD && m.status == ModelRegistry.Status.Active, "the rest");
    }

    function test_what_is_not_registered_cannot_change() public {
        register(other, MODEL, BASE);
        vm.startPrank(owner);
        expectModel(ModelRegistry.ModelUnknown.selector, MODEL);
        models.setPrice(MODEL, 1, 1);
        expectModel(ModelRegistry.ModelUnknown.selector, MODEL);
        models.deprecate(MODEL, 0);
        expectModel(ModelRegistry.ModelUnknown.selector, MODEL);
        models.revoke(MODEL);
        vm.stopPrank();
    }

    function test_a_deprecated_model_names_an_active_successor_or_none() public {
        register(owner, MODEL, BASE);
        vm.startPrank(owner);
        expectModel(ModelRegistry.ModelUnknown.selector, NEXT);
        models.deprecate(MODEL, NEXT);
        expectNotActive(MODEL, ModelRegistry.Status.Deprecated);
        models.deprecate(MODEL, MODEL);
        vm.stopPrank();
        register(owner, NEXT, MODEL);
        vm.startPrank(owner);
        vm.expectEmit(address(models));
        emit ModelRegistry.ModelDeprecated(owner, MODEL, NEXT);
        models.deprecate(MODEL, NEXT);
        assertEq(models.models(owner, MODEL).successor, NEXT, "successor");
        assertStatus(MODEL, ModelRegistry.Status.Deprecated);
        expectNotActive(MODEL, ModelRegistry.Status.Deprecated);
        models.deprecate(NEXT, MODEL);
        expectNotActive(MODEL, ModelRegistry.Status.Deprecated);
        models.deprecate(MODEL, 0);
        models.setPrice(MODEL, 9, 9);
        models.deprecate(NEXT, 0);
        assertEq(models.models(owner, NEXT).successor, bytes32(0), "none");
        vm.stopPrank();
    }

    function test_a_revoked_model_stays_revoked() public {
        register(owner, MODEL, BASE);
        register(owner, NEXT, MODEL);
        vm.startPrank(owner);
        models.deprecate(NEXT, 0);
        models.revoke(NEXT);
        vm.expectEmit(address(models));
        emit ModelRegistry.ModelRevoked(owner, MODEL);
        models.revoke(MODEL);
        assertStatus(MODEL, ModelRegistry.Status.Revoked);
        expectModel(ModelRegistry.ModelIsRevoked.selector, MODEL);
        models.revoke(MODEL);
        expectModel(ModelRegistry.ModelIsRevoked.selector, MODEL);
        models.deprecate(MODEL, 0);
        expectModel(ModelRegistry.ModelIsRevoked.selector, MODEL);
        models.setPrice(MODEL, 1, 1);
        vm.stopPrank();
        expectModel(ModelRegistry.ModelExists.selector, MODEL);
        register(owner, MODEL, BASE);
    }

    function register(address by, bytes32 model, bytes32 parent) private {
        DatanetVersion[] memory made = version(id, 1, RECORD);
        vm.prank(by);
        models.register(model, parent, RECORD, made, 5, 6);
    }

    function version(bytes32 datanet, uint64 number, bytes32 root) private pure returns (DatanetVersion[] memory made) {
        made = new DatanetVersion[](1);
        made[0] = DatanetVersion({datanet: datanet, version: number, root: root});
    }

    function assertStatus(bytes32 model, ModelRegistry.Status status) private view {
        assertEq(uint8(models.statusOf(owner, model)), uint8(status), "status");
    }

    function expectModel(bytes4 selector, bytes32 model) private {
        vm.expectRevert(abi.encodeWithSelector(selector, owner, model));
    }

    function expectNotActive(bytes32 model, ModelRegistry.Status status) private {
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.ModelNotActive.selector, owner, model, status));
    }
}
