// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AttestedGateway} from "../../src/bridge/AttestedGateway.sol";
import {Attestation, Message} from "../../src/bridge/Message.sol";
import {Mesh} from "./Mesh.sol";

/// Sends and delivers as it likes, in any order, again and again, with too few signatures too.
contract MeshHandler is Mesh {
    struct Flight {
        Message message;
        uint256 destination;
        uint256 amount;
        bool landed;
    }

    Flight[] private _flights;
    /// What was sent and has not arrived.
    uint256 public inFlight;
    uint256 public landings;
    uint256 public refusals;

    constructor() {
        setUp();
        on(HOME);
        open.transfer(bob, uint256(DAILY));
    }

    function sendAny(uint256 from, uint256 source, uint256 destination, uint256 amount) external {
        address sender = from % 2 == 0 ? alice : bob;
        source = chains[source % 3];
        destination = chains[destination % 3];
        if (source == destination) return;
        uint256 balance = source == HOME ? open.balanceOf(sender) : tokens[source].balanceOf(sender);
        (uint256 allowed,) = adapters[source].available();
        uint256 most = balance < allowed ? balance : allowed;
        if (most == 0) return;
        amount = bound(amount, 1, most);
        address to = from % 3 == 0 ? alice : bob;
        Message memory message = send(sender, source, destination, to, amount);
        _flights.push(Flight({message: message, destination: destination, amount: amount, landed: false}));
        inFlight += amount;
    }

    /// Delivers a message sent before, delivered before or not.
    function deliverAny(uint256 index, uint256 signatures) external {
        if (_flights.length == 0) return;
        Flight storage flight = _flights[index % _flights.length];
        on(flight.destination);
        AttestedGateway gateway = gateways[flight.destination];
        Attestation[] memory signed = attest(gateway, flight.message, signatures % 4);
        (, uint256 allowed) = adapters[flight.destination].available();
        bool lands = !flight.landed && signed.length >= THRESHOLD && flight.amount <= allowed;
        if (!lands) vm.expectRevert();
        gateway.deliver(flight.message, signed);
        if (!lands) {
            ++refusals;
            return;
        }
        flight.landed = true;
        inFlight -= flight.amount;
        ++landings;
    }

    /// Attestors sign what nobody sent: fewer of them than the threshold.
    function forge(uint256 destination, uint256 amount, uint256 nonce) external {
        destination = chains[destination % 3];
        uint256 source = destination == HOME ? SIDE : HOME;
        on(destination);
        Message memory message = expected(source, destination, alice, alice, amount);
        message.nonce += nonce % 1_000;
        Attestation[] memory signed = attest(gateways[destination], message, THRESHOLD - 1);
        vm.expectRevert();
        gateways[destination].deliver(message, signed);
        ++refusals;
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 2 days));
    }

    function locked() external view returns (uint256) {
        return open.balanceOf(address(adapters[HOME]));
    }

    function abroad() external view returns (uint256) {
        return tokens[SIDE].totalSupply() + tokens[FAR].totalSupply();
    }

    function mintedLessBurnt(uint256 i) external view returns (uint256 supply, uint256 difference) {
        uint256 chain = chains[i];
        return (tokens[chain].totalSupply(), tokens[chain].minted() - tokens[chain].burnt());
    }

    function homeSupply() external view returns (uint256) {
        return open.totalSupply();
    }
}

contract MeshInvariants is Mesh {
    MeshHandler private _handler;

    function setUp() public override {
        _handler = new MeshHandler();
        bytes4[] memory selectors = new bytes4[](4);
        selectors[0] = MeshHandler.sendAny.selector;
        selectors[1] = MeshHandler.deliverAny.selector;
        selectors[2] = MeshHandler.forge.selector;
        selectors[3] = MeshHandler.pass.selector;
        targetContract(address(_handler));
        targetSelector(address(_handler), selectors);
    }

    function invariant_what_is_locked_is_abroad_or_on_its_way() public view {
        assertEq(_handler.locked(), _handler.abroad() + _handler.inFlight(), "backed to the unit");
    }

    function invariant_supply_abroad_is_mints_less_burns() public view {
        for (uint256 i = 1; i < 3; ++i) {
            (uint256 supply, uint256 difference) = _handler.mintedLessBurnt(i);
            assertEq(supply, difference, "supply");
        }
    }

    function invariant_the_home_supply_never_changes() public view {
        assertEq(_handler.homeSupply(), 1_000_000_000 ether, "OPEN is neither minted nor burnt");
    }

    /// The handler does get tokens across and back, or the rest would prove little.
    function test_the_handler_moves_tokens() public {
        _handler.sendAny(0, 0, 1, 5 ether);
        _handler.deliverAny(0, 2);
        _handler.deliverAny(0, 3);
        _handler.sendAny(1, 1, 2, 2 ether);
        _handler.sendAny(0, 1, 2, 2 ether);
        _handler.deliverAny(1, 2);
        _handler.forge(0, 1 ether, 5);
        assertEq(_handler.landings(), 2, "two arrived");
        assertEq(_handler.refusals(), 2, "a repetition and a forgery did not");
        assertEq(_handler.locked(), 5 ether, "locked");
    }
}
