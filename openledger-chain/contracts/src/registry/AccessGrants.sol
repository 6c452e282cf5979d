// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {DatanetRegistry} from "./DatanetRegistry.sol";
import {Registry} from "./Registry.sol";
import {Grant, hashOf} from "./Statements.sol";

/// Who may use which Datanet for what: asked for, granted, denied, revoked.
///
/// A grant is named by the hash of its statement. It counts once: what was revoked never comes
/// back, and whoever wants to grant again makes another statement with another nonce.
contract AccessGrants is Registry, EIP712Upgradeable {
    enum RequestStatus {
        None,
        Requested,
        Granted,
        Denied
    }

    enum GrantStatus {
        None,
        Granted,
        Revoked
    }

    /// One storage slot.
    struct Granted {
        uint64 notBefore;
        uint64 notAfter;
        GrantStatus status;
    }

    /// @custom:storage-location erc7201:openledger.storage.AccessGrants
    struct GrantStorage {
        mapping(bytes32 grant => Granted) grants;
        mapping(bytes32 use => bytes32[] grants) uses;
        mapping(bytes32 request => RequestStatus) requests;
    }

    bytes32 private constant GRANT_STORAGE = 0x37776e5ca9cd0ebd84f6c566136b05306defdd453202f10890a916ae763f7b00;

    uint8 public constant PAUSE_REQUEST = 0;
    uint8 public constant PAUSE_GRANT = 1;

    /// Scopes are numbered 1 search, 2 read, 3 train, 4 compute; none implies another.
    uint8 public constant LAST_SCOPE = 4;
    /// The version that stands for each version as it comes.
    uint64 public constant EVERY_VERSION = 0;
    /// Grants that stand at a time for one grantee, Datanet, version and scope: what `allowed` reads
    /// is bounded.
    uint256 public constant MAX_GRANTS = 16;

    DatanetRegistry public immutable DATANETS;

    event AccessRequested(bytes32 indexed datanet, address indexed grantee, bytes32 indexed purpose);
    event AccessDenied(bytes32 indexed datanet, address indexed grantee, bytes32 indexed purpose);
    event AccessGranted(
        bytes32 indexed grant,
        bytes32 indexed datanet,
        address indexed grantee,
        uint64 version,
        uint8 scope,
        bytes32 purpose,
        uint64 notBefore,
        uint64 notAfter
    );
    event AccessRevoked(bytes32 indexed grant, bytes32 indexed datanet, address indexed grantee);

    error DatanetUnknown(bytes32 datanet);
    error GrantExists(bytes32 grant);
    error GrantIsRevoked(bytes32 grant);
    error GrantExpired(uint64 deadline);
    error GrantsFull(bytes32 datanet, address grantee);
    error NotOwner(bytes32 datanet, address caller);
    error RequestExists(bytes32 datanet, address grantee, bytes32 purpose);
    error RequestNotOpen(bytes32 datanet, address grantee, bytes32 purpose);
    error ScopeUnknown(uint8 scope);
    error SignatureInvalid(address signer);
    error WindowEmpty(uint64 notBefore, uint64 notAfter);

    constructor(DatanetRegistry datanets) {
        DATANETS = datanets;
    }

    function initialize(address authority) external initializer {
        __AccessManaged_init(authority);
        __EIP712_init("OpenLedger", "1");
    }

    /// Asks for a Datanet; `purpose` is the digest of the stated purpose and the accepted licence,
    /// and is asked once.
    function request(bytes32 datanet, bytes32 purpose) external whenOpen(PAUSE_REQUEST) {
        if (DATANETS.ownerOf(datanet) == address(0)) revert DatanetUnknown(datanet);
        bytes32 key = _requestKey(datanet, msg.sender, purpose);
        GrantStorage storage $ = _storage();
        if ($.requests[key] != RequestStatus.None) revert RequestExists(datanet, msg.sender, purpose);
        $.requests[key] = RequestStatus.Requested;
        emit AccessRequested(datanet, msg.sender, purpose);
    }

    /// Denies what was asked of the caller's Datanet.
    function deny(bytes32 datanet, address grantee, bytes32 purpose) external {
        _checkOwner(datanet, msg.sender);
        bytes32 key = _requestKey(datanet, grantee, purpose);
        GrantStorage storage $ = _storage();
        if ($.requests[key] != RequestStatus.Requested) revert RequestNotOpen(datanet, grantee, purpose);
        $.requests[key] = RequestStatus.Denied;
        emit AccessDenied(datanet, grantee, purpose);
    }

    /// Grants use of the caller's Datanet, asked for or not.
    function grant(Grant calldata g) external returns (bytes32) {
        if (g.owner != msg.sender) revert NotOwner(g.datanet, msg.sender);
        return _grant(g);
    }

    /// Records a grant that the Datanet's owner signed; anybody may bring it.
    function grantBySig(Grant calldata g, bytes calldata signature) external returns (bytes32 id) {
        id = _grant(g);
        if (!SignatureChecker.isValidSignatureNow(g.owner, _hashTypedDataV4(id), signature)) {
            revert SignatureInvalid(g.owner);
        }
    }

    /// Takes a grant back for good. The Datanet's owner revokes what stands, whoever granted it; who
    /// signed a grant that nobody has brought yet revokes it before it stands.
    function revoke(Grant calldata g) external {
        bytes32 id = hashOf(g);
        Granted storage stored = _storage().grants[id];
        if (stored.status == GrantStatus.Revoked) revert GrantIsRevoked(id);
        address revoker = stored.status == GrantStatus.None ? g.owner : DATANETS.ownerOf(g.datanet);
        if (revoker != msg.sender) revert NotOwner(g.datanet, msg.sender);
        stored.status = GrantStatus.Revoked;
        emit AccessRevoked(id, g.datanet, g.grantee);
    }

    /// Whether a grant lets `grantee` use a Datanet's version for a scope at a time (Unix seconds).
    /// Owners need no grant and are not looked up here.
    function allowed(bytes32 datanet, uint64 version, uint8 scope, address grantee, uint64 time)
        external
        view
        returns (bool)
    {
        return _stands(_useKey(datanet, version, scope, grantee), time)
            || _stands(_useKey(datanet, EVERY_VERSION, scope, grantee), time);
    }

    function grants(bytes32 id) external view returns (Granted memory) {
        return _storage().grants[id];
    }

    function requestOf(bytes32 datanet, address grantee, bytes32 purpose) external view returns (RequestStatus) {
        return _storage().requests[_requestKey(datanet, grantee, purpose)];
    }

    function pausable() public pure override returns (uint128) {
        return uint128(1) << PAUSE_REQUEST | uint128(1) << PAUSE_GRANT;
    }

    function _grant(Grant calldata g) private whenOpen(PAUSE_GRANT) returns (bytes32 id) {
        if (block.timestamp > g.deadline) revert GrantExpired(g.deadline);
        if (g.scope == 0 || g.scope > LAST_SCOPE) revert ScopeUnknown(g.scope);
        if (g.notAfter < g.notBefore || g.notAfter < block.timestamp) revert WindowEmpty(g.notBefore, g.notAfter);
        _checkOwner(g.datanet, g.owner);
        id = hashOf(g);
        GrantStorage storage $ = _storage();
        GrantStatus status = $.grants[id].status;
        if (status == GrantStatus.Revoked) revert GrantIsRevoked(id);
        if (status != GrantStatus.None) revert GrantExists(id);
        $.grants[id] = Granted({notBefore: g.notBefore, notAfter: g.notAfter, status: GrantStatus.Granted});
        _list(g, id);
        bytes32 key = _requestKey(g.datanet, g.grantee, g.purpose);
        if ($.requests[key] == RequestStatus.Requested) $.requests[key] = RequestStatus.Granted;
        emit AccessGranted(id, g.datanet, g.grantee, g.version, g.scope, g.purpose, g.notBefore, g.notAfter);
    }

    /// Lists a grant under its use, in the place of one that is over if there is any.
    function _list(Grant calldata g, bytes32 id) private {
        GrantStorage storage $ = _storage();
        bytes32[] storage ids = $.uses[_useKey(g.datanet, g.version, g.scope, g.grantee)];
        uint256 length = ids.length;
        for (uint256 i = 0; i < length; ++i) {
            Granted memory other = $.grants[ids[i]];
            if (other.status == GrantStatus.Revoked || other.notAfter < block.timestamp) {
                ids[i] = id;
                return;
            }
        }
        if (length == MAX_GRANTS) revert GrantsFull(g.datanet, g.grantee);
        ids.push(id);
    }

    function _stands(bytes32 use, uint64 time) private view returns (bool) {
        GrantStorage storage $ = _storage();
        bytes32[] storage ids = $.uses[use];
        uint256 length = ids.length;
        for (uint256 i = 0; i < length; ++i) {
            Granted memory g = $.grants[ids[i]];
            if (g.status == GrantStatus.Granted && g.notBefore <= time && time <= g.notAfter) return true;
        }
        return false;
    }

    function _checkOwner(bytes32 datanet, address account) private view {
        if (account == address(0) || DATANETS.ownerOf(datanet) != account) revert NotOwner(datanet, account);
    }

    function _useKey(bytes32 datanet, uint64 version, uint8 scope, address grantee) private pure returns (bytes32) {
        return keccak256(abi.encode(datanet, version, scope, grantee));
    }

    function _requestKey(bytes32 datanet, address grantee, bytes32 purpose) private pure returns (bytes32) {
        return keccak256(abi.encode(datanet, grantee, purpose));
    }

    function _storage() private pure returns (GrantStorage storage $) {
        assembly {
            $.slot := GRANT_STORAGE
        }
    }
}
