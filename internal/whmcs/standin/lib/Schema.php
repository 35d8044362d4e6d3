<?php

declare(strict_types=1);

namespace WHMCS\Standin;

/**
 * As much of Laravel's schema builder as is used.
 */
class Schema
{
    public function __construct(private \PDO $pdo)
    {
    }

    public function hasTable(string $name): bool
    {
        $found = $this->pdo->prepare("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?");
        $found->execute([$name]);
        return (int) $found->fetchColumn() > 0;
    }

    public function create(string $name, callable $columns): void
    {
        $table = new Blueprint();
        $columns($table);
        foreach ($table->statements($name) as $sql) {
            $this->pdo->exec($sql);
        }
    }
}
