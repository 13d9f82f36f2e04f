//! What the two engines spell differently: types and the triggers that keep a log append-only.
//! Not here: any table.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// Runs a schema text whose statements end with `;` at the end of a line. `{id}`, `{amount}`,
/// `{bytes}` stand for the engine's type of a UUID, a stored amount and a byte string; `{digits:c}`
/// is a CHECK that column `c` holds 39 digits.
pub async fn run(manager: &SchemaManager<'_>, schema: &str) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    for statement in schema.split(";\n").map(str::trim).filter(|s| !s.is_empty()) {
        manager.get_connection().execute_unprepared(&translate(statement, backend)).await?;
    }
    Ok(())
}

fn translate(statement: &str, backend: DbBackend) -> String {
    let postgres = backend == DbBackend::Postgres;
    let mut text = statement
        .replace("{id}", if postgres { "UUID" } else { "BLOB" })
        .replace("{amount}", if postgres { "VARCHAR(39) COLLATE \"C\"" } else { "TEXT" })
        .replace("{bytes}", if postgres { "BYTEA" } else { "BLOB" });
    while let Some(start) = text.find("{digits:") {
        let end = text[start..].find('}').map_or(text.len(), |offset| start + offset);
        let column = text[start + "{digits:".len()..end].to_owned();
        let check = if postgres {
            format!("CHECK ({column} ~ '^[0-9]{{39}}$')")
        } else {
            format!("CHECK (length({column}) = 39 AND {column} NOT GLOB '*[^0-9]*')")
        };
        text.replace_range(start..=end.min(text.len() - 1), &check);
    }
    text
}

/// Refuses UPDATE, DELETE and (where the engine has it) TRUNCATE on a table. `deletable` is a
/// condition on `OLD` under which DELETE passes.
pub async fn append_only(
    manager: &SchemaManager<'_>,
    table: &str,
    deletable: Option<&str>,
) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let refused = format!("{table} is append-only");
    let keep =
        deletable.map_or_else(|| "TRUE".to_owned(), |condition| format!("NOT ({condition})"));
    if manager.get_database_backend() == DbBackend::Postgres {
        let function = format!(
            "CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF TG_OP = 'DELETE' THEN IF {keep} THEN RAISE EXCEPTION '{refused}'; END IF;
                 RETURN OLD; END IF;
               RAISE EXCEPTION '{refused}'; END $$"
        );
        connection.execute_unprepared(&function).await?;
        connection
            .execute_unprepared(&format!(
                "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
                 FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
            ))
            .await?;
        connection
            .execute_unprepared(&format!(
                "CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
            ))
            .await?;
    } else {
        for (operation, condition) in [("UPDATE", "TRUE"), ("DELETE", keep.as_str())] {
            connection.execute_unprepared(&refusal(table, operation, condition)).await?;
        }
    }
    Ok(())
}

/// Lets UPDATE pass on an append-only table until [`close`]: for the migration that fills a new column.
pub async fn reopen(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let sql = if manager.get_database_backend() == DbBackend::Postgres {
        format!("ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
    } else {
        format!("DROP TRIGGER {table}_no_update")
    };
    manager.get_connection().execute_unprepared(&sql).await?;
    Ok(())
}

/// Refuses UPDATE again after [`reopen`].
pub async fn close(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let sql = if manager.get_database_backend() == DbBackend::Postgres {
        format!("ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")
    } else {
        refusal(table, "UPDATE", "TRUE")
    };
    manager.get_connection().execute_unprepared(&sql).await?;
    Ok(())
}

/// SQLite's trigger that refuses one operation under a condition.
fn refusal(table: &str, operation: &str, condition: &str) -> String {
    format!(
        "CREATE TRIGGER {table}_no_{} BEFORE {operation} ON {table} WHEN {condition}
         BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
        operation.to_lowercase()
    )
}

/// Refuses any change of one column once the row exists.
pub async fn immutable_column(
    manager: &SchemaManager<'_>,
    table: &str,
    column: &str,
) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let refused = format!("{table}.{column} never changes");
    if manager.get_database_backend() == DbBackend::Postgres {
        connection
            .execute_unprepared(&format!(
                "CREATE FUNCTION {table}_{column}_immutable() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN RAISE EXCEPTION '{refused}'; END $$"
            ))
            .await?;
        connection
            .execute_unprepared(&format!(
                "CREATE TRIGGER {table}_{column}_immutable BEFORE UPDATE ON {table} FOR EACH ROW
                 WHEN (NEW.{column} IS DISTINCT FROM OLD.{column})
                 EXECUTE FUNCTION {table}_{column}_immutable()"
            ))
            .await?;
    } else {
        connection
            .execute_unprepared(&format!(
                "CREATE TRIGGER {table}_{column}_immutable BEFORE UPDATE OF {column} ON {table}
                 WHEN NEW.{column} IS NOT OLD.{column}
                 BEGIN SELECT RAISE(ABORT, '{refused}'); END"
            ))
            .await?;
    }
    Ok(())
}
