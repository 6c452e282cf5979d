//! What paying costs: one by one, and a thousand inferences at once.

use std::time::Duration;

use openledger_chain::{
    Charge, Payments,
    abi::{inference_escrow::InferenceEscrow, open_token::OpenToken, open_token_l2::OpenTokenL2},
    alloy::{
        contract::{CallBuilder, CallDecoder},
        network::Ethereum,
        primitives::{Uint, address},
        providers::Provider,
        sol_types::SolStruct,
    },
};
use openledger_core::{Address, Amount, B256, U256, keccak256, message::Domain};

use crate::{
    INFERENCES, Result, Steps,
    world::{HOUR, World, open},
};

impl World {
    /// Payments signed by their payer and brought by somebody else; returns what one of OPEN costs.
    pub(super) async fn authorizations(&self, steps: &mut Steps) -> Result<u64> {
        let (admin, holder) = (self.people.admin.address(), self.people.holder.address());
        let provider = self.chain.provider();
        let bridged = OpenTokenL2::deploy_builder(provider, admin, Address::ZERO, Address::ZERO);
        let bridged = bridged.from(admin).deploy().await?;
        let minter = OpenTokenL2::new(bridged, provider);
        self.chain.send("mint", minter.mint(holder, open(100).units())).await?;
        self.chain.transfer(holder, open(100)).await?;
        let mut one = 0;
        for (token, name) in [(bridged, "OPEN on an L2"), (self.chain.contracts().token, "OPEN")] {
            for (payee, limit) in [("new", None), ("old", Some(71_500))] {
                one = self.pay(token, keccak256(payee)).await?;
                steps.add(format!("EIP-3009 of {name} to a payee, {payee}"), one, limit);
            }
        }
        Ok(one)
    }

    /// Has the holder pay by EIP-3009.
    async fn pay(&self, token: Address, nonce: B256) -> Result<u64> {
        let transfer = typed::TransferWithAuthorization {
            from: self.people.holder.address(),
            to: address!("0x5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e"),
            value: U256::from(123_456_789_123_456_789u64),
            validAfter: U256::ZERO,
            validBefore: U256::from(4_000_000_000u64),
            nonce,
        };
        let domain = Domain { chain_id: self.chain.chain_id(), contract: token }.to_eip712();
        let signature = self.people.holder.sign(transfer.eip712_signing_hash(&domain));
        let bytes = signature.as_bytes();
        let [r, s] = [&bytes[..32], &bytes[32..64]].map(B256::from_slice);
        // The same function in both tokens.
        let token = OpenToken::new(token, self.chain.provider());
        let call = token.transferWithAuthorization(
            transfer.from,
            transfer.to,
            transfer.value,
            transfer.validAfter,
            transfer.validBefore,
            transfer.nonce,
            bytes[64],
            r,
            s,
        );
        Ok(self.chain.send("pay", call).await?.tx.gas)
    }

    /// A thousand payers charged in one batch; `one` is what one payment by itself costs.
    pub(super) async fn settlement(&self, steps: &mut Steps, one: u64) -> Result<()> {
        self.fill_escrow().await?;
        let charge = |index: usize| Charge {
            payer: self.people.payers[index].address(),
            amount: Amount::from(123_456_789_000_000_000 + index as u64),
        };
        let single = |index| vec![charge(INFERENCES + index)];
        let many: Vec<Charge> = (0..INFERENCES).map(charge).collect();
        let limit = one * INFERENCES as u64 / 5;
        let batches = [
            ("settle one inference, first", single(0), None),
            ("settle one inference, next", single(1), None),
            ("settle 1,000 inferences of 1,000 payers", many, Some(limit)),
        ];
        for (name, ..) in &batches {
            self.log(name).await?;
        }
        self.pass(HOUR).await?;
        for (name, charges, limit) in batches {
            let settled = self.chain.settle(keccak256(name), &charges).await?;
            let sum: Amount = charges.iter().map(|charge| charge.amount).sum();
            let escrow = self.chain.contracts().escrow;
            let taken = settled.tx.event::<InferenceEscrow::Settled>(escrow);
            assert_eq!(taken.ok_or("no event of a settlement")?.total, sum.units());
            assert!(limit.is_some() || settled.tx.gas > one, "alone it costs more than a payment");
            steps.add(name, settled.tx.gas, limit);
        }
        Ok(())
    }

    /// Every payer puts OPEN down and reserves half of it for the node.
    async fn fill_escrow(&self) -> Result<()> {
        let provider = self.chain.provider();
        let contracts = self.chain.contracts();
        let token = OpenToken::new(contracts.token, provider);
        let escrow = InferenceEscrow::new(contracts.escrow, provider);
        let admin = self.people.admin.address();
        let amount = open(2).units();
        let expires = Uint::from(self.chain.now().await? + 30 * 24 * HOUR);
        let first = provider.get_transaction_count(admin).await?;
        for (nonce, payer) in (first..).zip(&self.people.payers) {
            let payer = payer.address();
            self.push(token.transfer(payer, amount), admin, nonce).await?;
            self.push(token.approve(contracts.escrow, amount), payer, 0).await?;
            self.push(escrow.deposit(amount), payer, 1).await?;
            let authorize = escrow.authorize(admin, open(1).units().to(), expires);
            self.push(authorize, payer, 2).await?;
        }
        Ok(())
    }

    /// Sends a call with as few questions as can be: thousands of these only prepare a step.
    async fn push<P: Provider, D: CallDecoder>(
        &self,
        call: CallBuilder<P, D, Ethereum>,
        from: Address,
        nonce: u64,
    ) -> Result<()> {
        let call = call.from(from).nonce(nonce).gas(200_000);
        let call = call.max_fee_per_gas(10_000_000_000).max_priority_fee_per_gas(1);
        let hash = *call.send().await?.tx_hash();
        // Real nodes answer before the block is there, and some lose what comes right after.
        for _ in 0..10_000 {
            if let Some(receipt) = self.chain.provider().get_transaction_receipt(hash).await? {
                assert!(receipt.status(), "{hash} failed");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("transaction {hash} stays out of blocks").into())
    }
}

/// What is signed (EIP-712).
mod typed {
    openledger_chain::alloy::sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}
