//! Takes all that an account owns, as whoever has its key does. The node signs in its name, so that no key
//! is needed. Not here: what the driver pays with accounts of its own (`pay`).

use alloy::primitives::{Address, U256, hex};
use cryptopayment::chain::SandboxControl as _;
use cryptopayment::domain::asset::Network;
use serde_json::{Value, json};

use super::Anvil;
use super::abi::{Argument, account, call_data, transfer_data};
use super::pay::{CALL_GAS, FEE_PER_GAS, PLAIN_GAS};

impl Anvil {
    /// Sends all of the network's asset that an account owns to a stranger, in a block of its own. For
    /// tokens it needs the chain's coin first, which is paid to it in a block before.
    pub async fn take_all(&self, owner: Address) {
        let units = self.owned(owner).await;
        let mut call =
            json!({ "from": owner.to_string(), "gasPrice": format!("{FEE_PER_GAS:#x}") });
        if self.network == Network::Eth {
            let value = units - U256::from(u128::from(PLAIN_GAS) * FEE_PER_GAS);
            call["to"] = json!(self.stranger().to_string());
            call["value"] = json!(format!("{value:#x}"));
            call["gas"] = json!(format!("{PLAIN_GAS:#x}"));
        } else {
            let fee = u128::from(CALL_GAS) * FEE_PER_GAS;
            self.invoke_from(self.turn(), owner, fee, Vec::new(), PLAIN_GAS).await;
            self.mine(1).await.unwrap();
            call["to"] = json!(self.token.to_string());
            call["data"] = json!(hex::encode_prefixed(transfer_data(self.stranger(), units)));
            call["gas"] = json!(format!("{CALL_GAS:#x}"));
        }
        self.call::<Value>("anvil_impersonateAccount", json!([owner.to_string()])).await.unwrap();
        self.call::<String>("eth_sendTransaction", json!([call])).await.unwrap();
        self.mine(1).await.unwrap();
        assert_eq!(self.owned(owner).await, U256::ZERO, "it is gone");
    }

    /// What an account owns of the network's asset.
    async fn owned(&self, owner: Address) -> U256 {
        let (method, params) = if self.network == Network::Eth {
            ("eth_getBalance", json!([owner.to_string(), "latest"]))
        } else {
            let data = call_data("balanceOf(address)", &[Argument::Word(account(owner))]);
            let call = json!({ "to": self.token.to_string(), "data": hex::encode_prefixed(data) });
            ("eth_call", json!([call, "latest"]))
        };
        self.call::<String>(method, params).await.unwrap().parse().unwrap()
    }
}
