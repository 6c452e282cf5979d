// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/// GOPEN: the native coin wrapped one for one into votes.
///
/// Its clock counts seconds, because blocks of an L2 do not come at a steady pace. Votes count only
/// after their holder delegates, be it to itself.
contract GovernanceOpen is ERC20, ERC20Permit, ERC20Votes {
    event Deposit(address indexed from, address indexed account, uint256 amount);
    event Withdrawal(address indexed account, uint256 amount);

    constructor() ERC20("Governance OPEN", "GOPEN") ERC20Permit("Governance OPEN") {}

    receive() external payable {
        depositFor(msg.sender);
    }

    /// Wraps what is sent along.
    function deposit() external payable {
        depositFor(msg.sender);
    }

    /// Wraps what is sent along, for `account`.
    function depositFor(address account) public payable {
        _mint(account, msg.value);
        emit Deposit(msg.sender, account, msg.value);
    }

    /// Unwraps `amount` to the caller.
    function withdraw(uint256 amount) external {
        _burn(msg.sender, amount);
        emit Withdrawal(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
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

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Votes) {
        super._update(from, to, amount);
    }
}
