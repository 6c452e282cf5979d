// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {Roles} from "../../src/access/Roles.sol";
import {AttestedGateway} from "../../src/bridge/AttestedGateway.sol";
import {MeshAdapter} from "../../src/bridge/MeshAdapter.sol";
import {MeshHome} from "../../src/bridge/MeshHome.sol";
import {MeshRemote} from "../../src/bridge/MeshRemote.sol";
import {Attestation, Message} from "../../src/bridge/Message.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {RemoteToken} from "./RemoteToken.sol";

/// Three chains in one EVM, told apart by their id: the token's own and two others.
abstract contract Mesh is Test {
    uint256 internal constant HOME = 1;
    uint256 internal constant SIDE = 1612;
    uint256 internal constant FAR = 10;
    uint208 internal constant DAILY = 1_000_000 ether;
    uint32 internal constant THRESHOLD = 2;

    address internal guardian = address(0x6a);
    address internal alice = address(0xa11ce);
    address internal bob = address(0xb0b);

    Roles internal roles;
    OpenToken internal open;
    uint256[3] internal chains = [HOME, SIDE, FAR];
    mapping(uint256 chain => AttestedGateway) internal gateways;
    mapping(uint256 chain => MeshAdapter) internal adapters;
    mapping(uint256 chain => RemoteToken) internal tokens;
    uint256[3] internal keys;
    address[3] internal attestors;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        roles = new Roles(address(this));
        open = new OpenToken(address(this));
        for (uint256 i = 0; i < 3; ++i) {
            keys[i] = 0xA77E57 + i;
        }
        _sortKeys();
        for (uint256 i = 0; i < 3; ++i) {
            on(chains[i]);
            gateways[chains[i]] = new AttestedGateway(address(roles), _attestors(), THRESHOLD);
        }
        on(HOME);
        adapters[HOME] = new MeshHome(address(roles), address(gateways[HOME]), IERC20(address(open)), DAILY, DAILY);
        for (uint256 i = 1; i < 3; ++i) {
            on(chains[i]);
            RemoteToken token = new RemoteToken();
            tokens[chains[i]] = token;
            address gateway = address(gateways[chains[i]]);
            adapters[chains[i]] = new MeshRemote(address(roles), gateway, IERC7802(address(token)), DAILY, DAILY);
            token.setBridge(address(adapters[chains[i]]));
        }
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = 0; j < 3; ++j) {
                if (i == j) continue;
                on(chains[i]);
                gateways[chains[i]].setPeer(chains[j], address(gateways[chains[j]]));
                adapters[chains[i]].link(chains[j], address(adapters[chains[j]]));
            }
        }
        on(HOME);
        open.transfer(alice, 10 * uint256(DAILY));
    }

    /// Moves to another chain.
    function on(uint256 chain) internal {
        vm.chainId(chain);
    }

    function interop(uint256 chain, address account) internal pure returns (bytes memory) {
        return InteroperableAddress.formatEvmV1(chain, account);
    }

    /// Sends tokens and returns the message by which they arrive.
    function send(address from, uint256 source, uint256 destination, address to, uint256 amount)
        internal
        returns (Message memory message)
    {
        on(source);
        message = expected(source, destination, from, to, amount);
        if (source == HOME) {
            vm.prank(from);
            open.approve(address(adapters[HOME]), amount);
        }
        vm.prank(from);
        bytes32 id = adapters[source].crosschainTransfer(interop(destination, to), amount);
        on(destination);
        assertEq(id, gateways[destination].messageId(message), "both chains name a message alike");
    }

    /// The next message that a transfer would make.
    function expected(uint256 source, uint256 destination, address from, address to, uint256 amount)
        internal
        view
        returns (Message memory)
    {
        return Message({
            sourceChain: source,
            sourceGateway: address(gateways[source]),
            nonce: gateways[source].sent(),
            sender: address(adapters[source]),
            recipient: address(adapters[destination]),
            payload: abi.encode(interop(source, from), abi.encodePacked(to), amount)
        });
    }

    /// What the first `count` attestors sign for the chain we are on.
    function attest(AttestedGateway gateway, Message memory message, uint256 count)
        internal
        view
        returns (Attestation[] memory attestations)
    {
        bytes32 id = gateway.messageId(message);
        attestations = new Attestation[](count);
        for (uint256 i = 0; i < count; ++i) {
            attestations[i] = Attestation({attestor: attestors[i], signature: signature(keys[i], id)});
        }
    }

    function deliver(uint256 destination, Message memory message) internal {
        on(destination);
        AttestedGateway gateway = gateways[destination];
        gateway.deliver(message, attest(gateway, message, THRESHOLD));
    }

    function _attestors() private view returns (address[] memory list) {
        list = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            list[i] = attestors[i];
        }
    }

    function _sortKeys() private {
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = i + 1; j < 3; ++j) {
                if (vm.addr(keys[j]) < vm.addr(keys[i])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
        for (uint256 i = 0; i < 3; ++i) {
            attestors[i] = vm.addr(keys[i]);
        }
    }
}
