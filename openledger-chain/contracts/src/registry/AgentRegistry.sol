// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Registry} from "./Registry.sol";
import {AgentWallet, hashOf} from "./Statements.sol";

/// Agents: who answers for them, by which wallet they act, and which ERC-8004 identity is theirs.
///
/// An agent stays its owner's: reputation is not for sale here. What can be sold is the ERC-8004
/// identity, an ERC-721 token of another contract; a link to it says who held it when it was made,
/// and reading it says who holds it now.
contract AgentRegistry is Registry, EIP712Upgradeable {
    enum Status {
        None,
        Active,
        Retired,
        Revoked
    }

    struct Agent {
        address owner;
        uint40 registeredAt;
        Status status;
        address wallet;
    }

    struct Identity {
        IERC721 registry;
        uint256 token;
    }

    /// @custom:storage-location erc7201:openledger.storage.AgentRegistry
    struct AgentStorage {
        IERC721 identityRegistry;
        mapping(bytes32 agent => Agent) agents;
        mapping(address wallet => bytes32 agent) wallets;
        mapping(bytes32 statement => bool) spent;
        mapping(bytes32 agent => Identity) identities;
        mapping(IERC721 registry => mapping(uint256 token => bytes32 agent)) linked;
    }

    bytes32 private constant AGENT_STORAGE = 0xcd0312cc5914ec1a85ed4dc2a9b6755ca8e572607da561376b7b6561c7fbae00;

    uint8 public constant PAUSE_REGISTER = 0;
    uint8 public constant PAUSE_LINK = 1;

    event AgentRegistered(bytes32 indexed agent, address indexed owner, string name, bytes32 card);
    event CardChanged(bytes32 indexed agent, bytes32 card);
    event WalletChanged(bytes32 indexed agent, address indexed wallet);
    event IdentityLinked(bytes32 indexed agent, address indexed registry, uint256 indexed token);
    event IdentityUnlinked(bytes32 indexed agent, address indexed registry, uint256 indexed token);
    event IdentityRegistryChanged(address registry);
    event AgentRetired(bytes32 indexed agent);
    event AgentRevoked(bytes32 indexed agent, address indexed by);

    error AgentExists(bytes32 agent);
    error AgentUnknown(bytes32 agent);
    error AgentNotActive(bytes32 agent, Status status);
    error AgentIsRevoked(bytes32 agent);
    error NameEmpty();
    error NotOwner(bytes32 agent, address caller);
    error NoIdentityRegistry();
    error IdentityNotOwned(address registry, uint256 token, address caller);
    error IdentityNotLinked(bytes32 agent);
    error SignatureInvalid(address signer);
    error StatementExpired(uint64 deadline);
    error StatementSpent(bytes32 statement);
    error WalletTaken(address wallet, bytes32 agent);
    error WalletUnknown(address wallet);

    modifier onlyOwner(bytes32 agent) {
        if (_storage().agents[agent].owner != msg.sender) revert NotOwner(agent, msg.sender);
        _;
    }

    modifier onlyActive(bytes32 agent) {
        Status status = _storage().agents[agent].status;
        if (status != Status.Active) revert AgentNotActive(agent, status);
        _;
    }

    function initialize(address authority) external initializer {
        __AccessManaged_init(authority);
        __EIP712_init("OpenLedger", "1");
    }

    /// Registers the caller's agent called `name`; `card` is the digest of the description that its
    /// URI leads to.
    function register(string calldata name, bytes32 card)
        external
        whenOpen(PAUSE_REGISTER)
        returns (bytes32 agent)
    {
        if (bytes(name).length == 0) revert NameEmpty();
        agent = agentId(msg.sender, name);
        Agent storage a = _storage().agents[agent];
        if (a.status != Status.None) revert AgentExists(agent);
        (a.owner, a.registeredAt, a.status) = (msg.sender, uint40(block.timestamp), Status.Active);
        emit AgentRegistered(agent, msg.sender, name, card);
    }

    /// Names a new description.
    function setCard(bytes32 agent, bytes32 card) external onlyOwner(agent) onlyActive(agent) {
        emit CardChanged(agent, card);
    }

    /// Gives the caller's agent the wallet that signed for it, in place of the one it had.
    function setWallet(AgentWallet calldata w, bytes calldata signature)
        external
        whenOpen(PAUSE_LINK)
        onlyOwner(w.agent)
        onlyActive(w.agent)
    {
        if (block.timestamp > w.deadline) revert StatementExpired(w.deadline);
        AgentStorage storage $ = _storage();
        bytes32 statement = hashOf(w);
        if ($.spent[statement]) revert StatementSpent(statement);
        bytes32 holder = $.wallets[w.wallet];
        if (holder != bytes32(0)) revert WalletTaken(w.wallet, holder);
        $.spent[statement] = true;
        delete $.wallets[$.agents[w.agent].wallet];
        $.wallets[w.wallet] = w.agent;
        $.agents[w.agent].wallet = w.wallet;
        if (!SignatureChecker.isValidSignatureNow(w.wallet, _hashTypedDataV4(statement), signature)) {
            revert SignatureInvalid(w.wallet);
        }
        emit WalletChanged(w.agent, w.wallet);
    }

    /// Ends the bond between a wallet and its agent: the wallet may, and the agent's owner.
    function dropWallet(address wallet) external {
        AgentStorage storage $ = _storage();
        bytes32 agent = $.wallets[wallet];
        if (agent == bytes32(0)) revert WalletUnknown(wallet);
        if (msg.sender != wallet && msg.sender != $.agents[agent].owner) revert NotOwner(agent, msg.sender);
        delete $.wallets[wallet];
        delete $.agents[agent].wallet;
        emit WalletChanged(agent, address(0));
    }

    /// Links the caller's agent to an ERC-8004 identity that the caller holds, in place of the one it
    /// had. An identity that changed hands leaves the agent of the former holder.
    function link(bytes32 agent, uint256 token)
        external
        whenOpen(PAUSE_LINK)
        onlyOwner(agent)
        onlyActive(agent)
    {
        AgentStorage storage $ = _storage();
        IERC721 registry = $.identityRegistry;
        if (address(registry) == address(0)) revert NoIdentityRegistry();
        if (registry.ownerOf(token) != msg.sender) revert IdentityNotOwned(address(registry), token, msg.sender);
        bytes32 former = $.linked[registry][token];
        if (former != bytes32(0)) _unlink(former);
        if (address($.identities[agent].registry) != address(0)) _unlink(agent);
        $.identities[agent] = Identity({registry: registry, token: token});
        $.linked[registry][token] = agent;
        emit IdentityLinked(agent, address(registry), token);
    }

    function unlink(bytes32 agent) external onlyOwner(agent) {
        if (address(_storage().identities[agent].registry) == address(0)) revert IdentityNotLinked(agent);
        _unlink(agent);
    }

    /// Takes the caller's agent out of service for good.
    function retire(bytes32 agent) external onlyOwner(agent) onlyActive(agent) {
        _storage().agents[agent].status = Status.Retired;
        emit AgentRetired(agent);
    }

    /// Throws an agent out for good.
    function revoke(bytes32 agent) external restricted {
        Agent storage a = _storage().agents[agent];
        if (a.status == Status.None) revert AgentUnknown(agent);
        if (a.status == Status.Revoked) revert AgentIsRevoked(agent);
        a.status = Status.Revoked;
        emit AgentRevoked(agent, msg.sender);
    }

    /// Names the ERC-8004 contract for links from now on, zero for none; links made before keep theirs.
    function setIdentityRegistry(IERC721 registry) external restricted {
        _storage().identityRegistry = registry;
        emit IdentityRegistryChanged(address(registry));
    }

    function agents(bytes32 agent) external view returns (Agent memory) {
        return _storage().agents[agent];
    }

    /// The agent that acts by `wallet`, zero if none.
    function agentOf(address wallet) external view returns (bytes32) {
        return _storage().wallets[wallet];
    }

    function statusOf(bytes32 agent) external view returns (Status) {
        return _storage().agents[agent].status;
    }

    function identityRegistry() external view returns (IERC721) {
        return _storage().identityRegistry;
    }

    /// The agent's identity, and whether the agent's owner still holds it.
    function identityOf(bytes32 agent) external view returns (IERC721 registry, uint256 token, bool held) {
        AgentStorage storage $ = _storage();
        (registry, token) = ($.identities[agent].registry, $.identities[agent].token);
        if (address(registry).code.length == 0) return (registry, token, false);
        try registry.ownerOf(token) returns (address holder) {
            held = holder == $.agents[agent].owner;
        } catch {}
    }

    /// The id of the agent that `owner` registers as `name`: bound to chain, contract and owner, so
    /// that nobody can take another's. The contract is the proxy.
    function agentId(address owner, string calldata name) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), owner, name));
    }

    function pausable() public pure override returns (uint128) {
        return uint128(1) << PAUSE_REGISTER | uint128(1) << PAUSE_LINK;
    }

    function _unlink(bytes32 agent) private {
        AgentStorage storage $ = _storage();
        Identity memory i = $.identities[agent];
        delete $.identities[agent];
        delete $.linked[i.registry][i.token];
        emit IdentityUnlinked(agent, address(i.registry), i.token);
    }

    function _storage() private pure returns (AgentStorage storage $) {
        assembly {
            $.slot := AGENT_STORAGE
        }
    }
}
