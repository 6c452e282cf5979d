// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Bridgeable} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC20Bridgeable.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {IOptimismMintableERC20} from "./IOptimismMintableERC20.sol";

/// OPEN on an L2 as an ERC-20: what the bridges lock on the other side, and nothing else, exists here.
///
/// Two may mint and burn, both fixed at deployment: the OP Stack's standard bridge, and one mesh of
/// bridges (ERC-7802), the zero address for none.
contract OpenTokenL2 is ERC20, ERC20Permit, ERC20Votes, ERC3009, ERC20Bridgeable, IOptimismMintableERC20 {
    address public immutable BRIDGE;
    address public immutable REMOTE_TOKEN;
    address public immutable MESH;

    event Mint(address indexed account, uint256 amount);
    event Burn(address indexed account, uint256 amount);

    error NotBridge(address caller);

    constructor(address bridge_, address remoteToken_, address mesh)
        ERC20("OpenLedger", "OPEN")
        ERC20Permit("OpenLedger")
    {
        (BRIDGE, REMOTE_TOKEN, MESH) = (bridge_, remoteToken_, mesh);
    }

    modifier onlyBridge() {
        if (msg.sender != BRIDGE) revert NotBridge(msg.sender);
        _;
    }

    /// Mints what was locked on the other side.
    function mint(address to, uint256 amount) external onlyBridge {
        _mint(to, amount);
        emit Mint(to, amount);
    }

    /// Burns what is to be unlocked on the other side; the bridge burns only its caller's.
    function burn(address from, uint256 amount) external onlyBridge {
        _burn(from, amount);
        emit Burn(from, amount);
    }

    /// The standard bridge, by the name it asks for.
    function bridge() external view returns (address) {
        return BRIDGE;
    }

    /// The token on the other side, by the name the standard bridge asks for.
    function remoteToken() external view returns (address) {
        return REMOTE_TOKEN;
    }

    function supportsInterface(bytes4 id) public view override(ERC20Bridgeable, IERC165) returns (bool) {
        return id == type(IOptimismMintableERC20).interfaceId || super.supportsInterface(id);
    }

    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _checkTokenBridge(address caller) internal view override {
        if (caller != MESH) revert NotBridge(caller);
    }

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Votes) {
        super._update(from, to, amount);
    }
}
