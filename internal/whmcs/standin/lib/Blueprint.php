<?php

declare(strict_types=1);

namespace WHMCS\Standin;

/**
 * The columns of a table that is made. Each call of a column returns the same object, so that what follows is about the
 * latest.
 */
class Blueprint
{
    /** @var string[] */
    private array $columns = [];
    /** @var array<string, string> */
    private array $indices = [];
    private string $latest = '';

    public function increments(string $name): self
    {
        return $this->column($name, 'INTEGER PRIMARY KEY AUTOINCREMENT');
    }

    public function integer(string $name): self
    {
        return $this->column($name, 'INTEGER NOT NULL');
    }

    public function bigInteger(string $name): self
    {
        return $this->integer($name);
    }

    public function string(string $name, int $length = 255): self
    {
        // MySQL refuses what is longer, SQLite needs to be told to.
        return $this->column($name, 'TEXT NOT NULL CHECK (length("' . $name . '") <= ' . $length . ')');
    }

    public function text(string $name): self
    {
        return $this->column($name, 'TEXT NOT NULL');
    }

    /**
     * @param int|string $value
     */
    public function default($value): self
    {
        $this->columns[$this->latest] .= ' DEFAULT ' . (is_int($value) ? $value : "'" . $value . "'");
        return $this;
    }

    public function unique(): self
    {
        $this->indices[$this->latest] = 'UNIQUE INDEX';
        return $this;
    }

    public function index(): self
    {
        $this->indices[$this->latest] = 'INDEX';
        return $this;
    }

    /**
     * @return string[]
     */
    public function statements(string $table): array
    {
        $all = ['CREATE TABLE "' . $table . '" (' . implode(', ', $this->columns) . ')'];
        foreach ($this->indices as $column => $kind) {
            $all[] = "CREATE $kind \"{$table}_{$column}\" ON \"$table\" (\"$column\")";
        }
        return $all;
    }

    private function column(string $name, string $type): self
    {
        $this->latest = $name;
        $this->columns[$name] = '"' . $name . '" ' . $type;
        return $this;
    }
}
