// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {OpenTokenL2} from "../../src/tokens/OpenTokenL2.sol";
import {Test} from "../Test.sol";

/// Bridges and holders that do anything, in any order.
contract L2Actors is Test {
    OpenTokenL2 public immutable TOKEN;
    uint256 public minted;
    uint256 public burned;

    constructor(OpenTokenL2 token) {
        TOKEN = token;
    }

    function actor(uint8 seed) public pure returns (address) {
        return address(uint160(0xA000 + uint256(seed % 4)));
    }

    function mint(uint8 to, uint96 amount, bool mesh) external {
        address bridge = mesh ? TOKEN.MESH() : TOKEN.BRIDGE();
        vm.prank(bridge);
        if (mesh) TOKEN.crosschainMint(actor(to), amount);
        else TOKEN.mint(actor(to), amount);
        minted += amount;
    }

    function burn(uint8 from, uint96 amount, bool mesh) external {
        uint256 least = bound(amount, 0, TOKEN.balanceOf(actor(from)));
        address bridge = mesh ? TOKEN.MESH() : TOKEN.BRIDGE();
        vm.prank(bridge);
        if (mesh) TOKEN.crosschainBurn(actor(from), least);
        else TOKEN.burn(actor(from), least);
        burned += least;
    }

    /// Should this ever pass, the supply is more than what the bridges minted.
    function steal(uint8 by, uint96 amount) external {
        vm.prank(actor(by));
        TOKEN.mint(actor(by), amount);
    }

    function transfer(uint8 from, uint8 to, uint96 amount) external {
        uint256 least = bound(amount, 0, TOKEN.balanceOf(actor(from)));
        vm.prank(actor(from));
        TOKEN.transfer(actor(to), least);
    }

    function delegate(uint8 from, uint8 to, uint16 passed) external {
        vm.warp(block.timestamp + passed);
        vm.prank(actor(from));
        TOKEN.delegate(actor(to));
    }
}

contract OpenTokenL2Invariants is Test {
    OpenTokenL2 private token;
    L2Actors private actors;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new OpenTokenL2(address(0x10), address(0x11), address(0x12));
        actors = new L2Actors(token);
        targetContract(address(actors));
    }

    function invariant_supply_is_what_was_minted_less_what_was_burned() public view {
        assertEq(token.totalSupply(), actors.minted() - actors.burned(), "supply");
    }

    function invariant_balances_and_votes_add_up() public view {
        uint256 balances;
        uint256 votes;
        for (uint8 i = 0; i < 4; ++i) {
            balances += token.balanceOf(actors.actor(i));
            votes += token.getVotes(actors.actor(i));
        }
        assertEq(balances, token.totalSupply(), "balances");
        assertLe(votes, token.totalSupply(), "votes");
    }
}
