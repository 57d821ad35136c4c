use faktor::clock;
use faktor::domain::ids::{CustomerId, FileId, OrganizationId, UserId};
use faktor::domain::party::{Customer, Metadata, Party};
use faktor::store::{Asset, KeptAnswer, PageRequest, StoreError, Stores, User};

use crate::sample::{at, new_organization, organization};

async fn founded(stores: &Stores) -> OrganizationId {
    let organization = organization(new_organization());
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    organization.id
}

fn customer(organization: OrganizationId, name: &str, created_at: i64) -> Customer {
    Customer {
        id: CustomerId::new(clock::new_uuid()),
        organization,
        version: 1,
        party: Party {
            name: name.to_owned(),
            email: Some(format!("{}@x.example", name.len())),
            ..Party::default()
        },
        locale: None,
        metadata: Metadata::from([("key".to_owned(), "value".to_owned())]),
        created_at: at(created_at),
        updated_at: at(created_at),
    }
}

pub(crate) async fn an_organization_is_updated_only_from_the_version_before(stores: &Stores) {
    let mut organization = organization(new_organization());
    assert_eq!(
        stores
            .directory
            .organization(organization.id)
            .await
            .unwrap(),
        None
    );
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    let again = stores.directory.insert_organization(&organization).await;
    assert_eq!(again, Err(StoreError::Conflict));
    organization.version = 2;
    organization.due_in_days = 30;
    stores
        .directory
        .update_organization(&organization)
        .await
        .unwrap();
    let again = stores.directory.update_organization(&organization).await;
    assert_eq!(again, Err(StoreError::Conflict));
    let kept = stores
        .directory
        .organization(organization.id)
        .await
        .unwrap();
    assert_eq!(kept, Some(organization));
}

pub(crate) async fn an_organization_is_founded_with_its_user_or_not_at_all(stores: &Stores) {
    let user = |organization| User {
        id: UserId::new(clock::new_uuid()),
        organization,
        version: 1,
        first_name: "Ada".to_owned(),
        last_name: "Byron".to_owned(),
        email: "ada@x.example".to_owned(),
        roles: vec!["administrator".to_owned()],
        password_hash: String::new(),
        created_at: at(0),
        updated_at: at(0),
    };
    let first = organization(new_organization());
    stores
        .directory
        .found_organization(&first, &user(first.id))
        .await
        .unwrap();
    assert!(
        stores
            .directory
            .organization(first.id)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        stores
            .identity
            .user_by_email("ada@x.example")
            .await
            .unwrap()
            .is_some()
    );

    let second = organization(new_organization());
    let refusal = stores
        .directory
        .found_organization(&second, &user(second.id))
        .await;
    assert_eq!(refusal, Err(StoreError::Taken { field: "email" }));
    assert_eq!(
        stores.directory.organization(second.id).await.unwrap(),
        None
    );
}

pub(crate) async fn a_customer_is_an_organizations_own(stores: &Stores) {
    let (mine, other) = (founded(stores).await, founded(stores).await);
    let customer = customer(mine, "Ada", 0);
    stores.directory.insert_customer(&customer).await.unwrap();
    let read = |organization| stores.directory.customer(organization, customer.id);
    assert_eq!(read(mine).await.unwrap(), Some(customer.clone()));
    assert_eq!(read(other).await.unwrap(), None);
    assert!(
        !stores
            .directory
            .delete_customer(other, customer.id)
            .await
            .unwrap()
    );
    assert!(
        stores
            .directory
            .delete_customer(mine, customer.id)
            .await
            .unwrap()
    );
    assert!(
        !stores
            .directory
            .delete_customer(mine, customer.id)
            .await
            .unwrap()
    );
    assert_eq!(read(mine).await.unwrap(), None);
}

pub(crate) async fn a_customer_is_updated_only_from_the_version_before(stores: &Stores) {
    let organization = founded(stores).await;
    let first = customer(organization, "Ada", 0);
    stores.directory.insert_customer(&first).await.unwrap();
    let mut second = Customer {
        version: 2,
        ..first.clone()
    };
    second.party.name = "Grace".to_owned();
    stores.directory.update_customer(&second).await.unwrap();
    assert_eq!(
        stores.directory.update_customer(&second).await,
        Err(StoreError::Conflict)
    );
    let kept = stores
        .directory
        .customer(organization, first.id)
        .await
        .unwrap();
    assert_eq!(kept, Some(second));
    let page = PageRequest {
        limit: 5,
        starting_after: None,
    };
    let by_name = |name| stores.directory.customers(organization, Some(name), &page);
    assert_eq!(by_name("ada").await.unwrap().data.len(), 0);
    assert_eq!(by_name("GRACE").await.unwrap().data.len(), 1);
}

pub(crate) async fn customers_are_searched_and_paged(stores: &Stores) {
    let organization = founded(stores).await;
    let mut expected = Vec::new();
    for (number, name) in ["Ölwerk", "Kohle", "ÖLHANDEL", "Öl & Gas"]
        .into_iter()
        .enumerate()
    {
        let customer = customer(organization, name, i64::try_from(number).unwrap());
        stores.directory.insert_customer(&customer).await.unwrap();
        expected.insert(0, customer);
    }
    let page = |limit, starting_after| PageRequest {
        limit,
        starting_after,
    };
    let all = stores
        .directory
        .customers(organization, None, &page(10, None))
        .await
        .unwrap();
    assert_eq!(all.data, expected);
    expected.retain(|customer| customer.party.name != "Kohle");
    let find = |page: PageRequest<CustomerId>| async move {
        stores
            .directory
            .customers(organization, Some("öl"), &page)
            .await
            .unwrap()
    };
    let first = find(page(2, None)).await;
    assert!(first.has_more);
    assert_eq!(first.data, expected[..2]);
    let rest = find(page(2, Some(first.data[1].id))).await;
    assert!(!rest.has_more);
    assert_eq!(rest.data, expected[2..]);
    let unknown = find(page(2, Some(CustomerId::new(clock::new_uuid())))).await;
    assert!(unknown.data.is_empty());
    let by_email = stores
        .directory
        .customers(organization, Some("7@X.EXAMPLE"), &page(5, None))
        .await;
    assert_eq!(by_email.unwrap().data.len(), 1);
}

pub(crate) async fn an_asset_is_kept_byte_for_byte(stores: &Stores) {
    let (mine, other) = (founded(stores).await, founded(stores).await);
    let asset = Asset {
        id: FileId::new(clock::new_uuid()),
        organization: mine,
        media_type: "image/png".to_owned(),
        bytes: (0..=255).cycle().take(100_000).collect(),
        created_at: at(0),
    };
    stores.directory.insert_asset(&asset).await.unwrap();
    assert_eq!(stores.directory.asset(other, asset.id).await.unwrap(), None);
    assert_eq!(
        stores.directory.asset(mine, asset.id).await.unwrap(),
        Some(asset)
    );
}

pub(crate) async fn the_first_answer_is_kept_until_it_is_forgotten(stores: &Stores) {
    let organization = new_organization();
    let answer = |key: &str, status, created_at| KeptAnswer {
        organization,
        key: key.to_owned(),
        fingerprint: u64::MAX - 1,
        status,
        body: b"{}".to_vec(),
        created_at: at(created_at),
    };
    let keep = |kept: KeptAnswer, forget_before| async move {
        stores
            .directory
            .keep_answer(&kept, at(forget_before))
            .await
            .unwrap();
    };
    let read = |key| stores.directory.kept_answer(organization, key);
    assert_eq!(read("one").await.unwrap(), None);
    keep(answer("one", 201, 10), 0).await;
    keep(answer("one", 409, 11), 0).await;
    assert_eq!(read("one").await.unwrap(), Some(answer("one", 201, 10)));
    assert_eq!(
        stores
            .directory
            .kept_answer(new_organization(), "one")
            .await
            .unwrap(),
        None
    );
    keep(answer("two", 201, 20), 15).await;
    assert_eq!(read("one").await.unwrap(), None);
    assert!(read("two").await.unwrap().is_some());
}
