// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Roles} from "../../src/access/Roles.sol";
import {AccessGrants} from "../../src/registry/AccessGrants.sol";
import {AgentRegistry} from "../../src/registry/AgentRegistry.sol";
import {ContributionRegistry} from "../../src/registry/ContributionRegistry.sol";
import {DatanetRegistry} from "../../src/registry/DatanetRegistry.sol";
import {ModelRegistry} from "../../src/registry/ModelRegistry.sol";
import {RegistryProxy} from "../../src/registry/RegistryProxy.sol";
import {Test} from "../Test.sol";

/// A contract that signs by the key of its owner.
contract ContractWallet is IERC1271 {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return ECDSA.recover(digest, signature) == OWNER ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// What stands for the ERC-8004 identity contract.
contract Identities is ERC721("Identities", "ID") {
    function mint(address to, uint256 token) external {
        _mint(to, token);
    }
}

/// All five registries behind proxies, with this contract as the admin of roles.
abstract contract RegistryTest is Test {
    uint64 internal constant GUARDIAN = 1;
    uint64 internal constant DISPUTES = 3;
    uint256 internal constant KEY = 0xA11CE;

    address internal owner = address(0x0111);
    address internal other = address(0x0222);
    address internal guardian = address(0x0333);
    address internal disputes = address(0x0444);
    address internal signer = vm.addr(KEY);

    Roles internal roles;
    DatanetRegistry internal datanets;
    ContributionRegistry internal contributions;
    AccessGrants internal access;
    ModelRegistry internal models;
    AgentRegistry internal agents;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        roles = new Roles(address(this));
        datanets = DatanetRegistry(proxy(address(new DatanetRegistry())));
        contributions = ContributionRegistry(proxy(address(new ContributionRegistry(datanets))));
        access = AccessGrants(proxy(address(new AccessGrants(datanets))));
        models = ModelRegistry(proxy(address(new ModelRegistry(datanets))));
        agents = AgentRegistry(proxy(address(new AgentRegistry())));
        roles.grantRole(DISPUTES, disputes, 0);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = ContributionRegistry.revokeDisputed.selector;
        roles.setTargetFunctionRole(address(contributions), selectors, DISPUTES);
    }

    function proxy(address implementation) internal returns (address) {
        bytes memory initialisation = abi.encodeCall(DatanetRegistry.initialize, (address(roles)));
        return address(new RegistryProxy(implementation, initialisation));
    }

    function create(string memory name) internal returns (bytes32) {
        vm.prank(owner);
        return datanets.create(name, keccak256("metadata"), DatanetRegistry.Kind.Text, false);
    }

    /// The digest to sign for a contract of ours, written out a second time.
    function digest(address verifier, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("OpenLedger"),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function expect(bytes4 selector, bytes32 a, address b) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b));
    }
}
