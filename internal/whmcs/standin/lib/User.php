<?php

declare(strict_types=1);

namespace WHMCS\User;

/**
 * What the hook UserLogin is given: https://developers.whmcs.com/hooks-reference/authentication/
 */
class User
{
    public function __construct(public int $id, public string $email)
    {
    }
}
