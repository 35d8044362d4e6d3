CREATE TABLE tblconfiguration (setting TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '');
CREATE TABLE tblclients (
    id INTEGER PRIMARY KEY, firstname TEXT NOT NULL DEFAULT '', lastname TEXT NOT NULL DEFAULT '',
    companyname TEXT NOT NULL DEFAULT '', email TEXT NOT NULL DEFAULT '', country TEXT NOT NULL DEFAULT '',
    phonenumber TEXT NOT NULL DEFAULT '', language TEXT NOT NULL DEFAULT '', currency TEXT NOT NULL DEFAULT 'USD'
);
CREATE TABLE tblusers (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL, password TEXT NOT NULL, first_name TEXT NOT NULL DEFAULT '',
    second_factor TEXT NOT NULL DEFAULT '', second_factor_config TEXT NOT NULL DEFAULT '', backup TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblusers_clients (
    id INTEGER PRIMARY KEY, auth_user_id INTEGER NOT NULL, client_id INTEGER NOT NULL, owner INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE tbladmins (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL, password TEXT NOT NULL, first_name TEXT NOT NULL DEFAULT '',
    second_factor TEXT NOT NULL DEFAULT '', second_factor_config TEXT NOT NULL DEFAULT '', backup TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblinvoices (
    id INTEGER PRIMARY KEY, userid INTEGER NOT NULL, invoicenum TEXT NOT NULL DEFAULT '', date TEXT NOT NULL DEFAULT '',
    duedate TEXT NOT NULL DEFAULT '', total TEXT NOT NULL DEFAULT '0.00', balance TEXT NOT NULL DEFAULT '0.00',
    status TEXT NOT NULL DEFAULT 'Unpaid'
);
CREATE TABLE tbltickets (
    id INTEGER PRIMARY KEY, tid TEXT NOT NULL DEFAULT '', userid INTEGER NOT NULL DEFAULT 0, title TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblhosting (
    id INTEGER PRIMARY KEY, userid INTEGER NOT NULL, name TEXT NOT NULL DEFAULT '', domain TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tbldomains (
    id INTEGER PRIMARY KEY, userid INTEGER NOT NULL, domain TEXT NOT NULL, expirydate TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblcustomfields (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL DEFAULT 'client', fieldname TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblcustomfieldsvalues (
    id INTEGER PRIMARY KEY, fieldid INTEGER NOT NULL, relid INTEGER NOT NULL, value TEXT NOT NULL DEFAULT ''
);
CREATE TABLE tblapi (identifier TEXT PRIMARY KEY, secret TEXT NOT NULL, accesskey TEXT NOT NULL DEFAULT '');
CREATE TABLE tbladdonmodules (id INTEGER PRIMARY KEY, module TEXT NOT NULL, setting TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE tblactivitylog (id INTEGER PRIMARY KEY, userid INTEGER NOT NULL DEFAULT 0, description TEXT NOT NULL);
CREATE TABLE tblmodulelog (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, action TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL,
    arrdata TEXT NOT NULL
);
