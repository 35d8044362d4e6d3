<?php

declare(strict_types=1);

namespace WHMCS\Standin;

/**
 * As much of Laravel's query builder as is used.
 */
class Query
{
    /** @var string[] */
    private array $where = [];
    /** @var mixed[] */
    private array $values = [];
    private string $order = '';
    private string $limit = '';

    public function __construct(private \PDO $pdo, private string $table)
    {
    }

    /**
     * @param mixed $operator the value, where there is no third
     * @param mixed $value
     */
    public function where(string $column, $operator, $value = null): self
    {
        if (func_num_args() === 2) {
            [$operator, $value] = ['=', $operator];
        }
        if (!in_array($operator, ['=', '!=', '<', '>', '<=', '>='], true)) {
            throw new \InvalidArgumentException('no such operator: ' . $operator);
        }
        $this->where[] = '"' . $column . '" ' . $operator . ' ?';
        $this->values[] = $value;
        return $this;
    }

    /**
     * @param mixed[] $values
     */
    public function whereIn(string $column, array $values): self
    {
        $this->where[] = '"' . $column . '" IN (' . implode(',', array_fill(0, count($values), '?')) . ')';
        array_push($this->values, ...$values);
        return $this;
    }

    public function orderBy(string $column, string $direction = 'asc'): self
    {
        $this->order = ' ORDER BY "' . $column . '" ' . $direction;
        return $this;
    }

    public function limit(int $n): self
    {
        $this->limit = ' LIMIT ' . $n;
        return $this;
    }

    /**
     * @return \ArrayObject<int, object>
     */
    public function get(): \ArrayObject
    {
        return new \ArrayObject($this->run('SELECT * FROM ' . $this->rest())->fetchAll());
    }

    public function first(): ?object
    {
        return $this->limit(1)->get()[0] ?? null;
    }

    /**
     * @return mixed
     */
    public function value(string $column)
    {
        return $this->first()->$column ?? null;
    }

    public function count(): int
    {
        return (int) $this->run('SELECT count(*) FROM ' . $this->rest())->fetchColumn();
    }

    /**
     * @param array<string, mixed> $row
     */
    public function insert(array $row): bool
    {
        $names = '"' . implode('","', array_keys($row)) . '"';
        $marks = implode(',', array_fill(0, count($row), '?'));
        $this->values = array_values($row);
        $this->run('INSERT INTO "' . $this->table . '" (' . $names . ') VALUES (' . $marks . ')');
        return true;
    }

    /**
     * @param array<string, mixed> $fields
     */
    public function update(array $fields): int
    {
        $set = implode(', ', array_map(static fn (string $name): string => '"' . $name . '" = ?', array_keys($fields)));
        array_unshift($this->values, ...array_values($fields));
        return $this->run('UPDATE "' . $this->table . '" SET ' . $set . $this->condition())->rowCount();
    }

    public function delete(): int
    {
        return $this->run('DELETE FROM ' . $this->rest())->rowCount();
    }

    /**
     * @param array<string, mixed> $key
     * @param array<string, mixed> $fields
     */
    public function updateOrInsert(array $key, array $fields): bool
    {
        $there = new self($this->pdo, $this->table);
        foreach ($key as $name => $value) {
            $this->where($name, $value);
            $there->where($name, $value);
        }
        if ($there->count() > 0) {
            return $this->update($fields) >= 0;
        }
        return (new self($this->pdo, $this->table))->insert($key + $fields);
    }

    private function condition(): string
    {
        return $this->where === [] ? '' : ' WHERE ' . implode(' AND ', $this->where);
    }

    private function rest(): string
    {
        return '"' . $this->table . '"' . $this->condition() . $this->order . $this->limit;
    }

    private function run(string $sql): \PDOStatement
    {
        $statement = $this->pdo->prepare($sql);
        $statement->execute($this->values);
        return $statement;
    }
}
