// Package config turns the environment into checked settings; nothing else in wabek reads environment variables.
//
// In: the environment of a program. Out: its struct, ready to use, with warnings; the texts of -h and
// docs/configuration.md come from the same struct tags. On failure: every problem at once, each naming its
// variable and how to mend it, and never the value of a secret.
package config

import (
	"log/slog"
	"os"
	"time"

	"wabek/internal/keys"
)

// The programs whose settings this package knows.
const (
	ProgramAPI    = "api"
	ProgramDemo   = "demo"
	ProgramSender = "sender"
	ProgramSim    = "whatsim"
)

// Environ is the environment of this process, for the Load functions.
func Environ() []string { return os.Environ() }

// The tags of a setting: env (name), envDefault, and for people: doc, unit, absent (what holds while there
// is no value), demo (the default in cmd/demo), secret. Checked as well: min, max (numbers or
// durations) and values (a list parted by |). A field's Go name must be unique within its program.

// API is the settings of cmd/api and, with Sim, of cmd/demo.
type API struct {
	Addr    string          `env:"WABEK_ADDR" envDefault:":8080" unit:"host:port" doc:"Where the API listens; port 0 takes a free one."`
	Port    string          `env:"PORT" absent:"-" unit:"port" doc:"Port of the API on every address, as hosting platforms set it. WABEK_ADDR wins."`
	DataDir string          `env:"WABEK_DATA_DIR" envDefault:"./data" demo:"a temporary directory" unit:"path" doc:"Directory of everything that is kept: records, queue, WhatsApp device keys."`
	Given   map[string]bool // names of the variables that are set
	// DataDirSet says that WABEK_DATA_DIR was given, so that it isn't just the default.
	DataDirSet bool

	NATSURL    NATSURL       `env:"WABEK_NATS_URL" absent:"a NATS server inside the program" unit:"URL[,URL…]" secret:"true" doc:"NATS servers to use, like nats://user:password@host:4222. With it cmd/api starts no sender of its own: run cmd/sender beside it."`
	QueueGrace time.Duration `env:"WABEK_QUEUE_GRACE" envDefault:"60s" unit:"duration" min:"0s" max:"1h" doc:"How long OTPs are still accepted while NATS or every sender is away; after it the API answers 503."`

	MaxWait time.Duration `env:"WABEK_MAX_WAIT" envDefault:"30s" unit:"duration" min:"0s" max:"10m" doc:"How long an OTP may wait for a session: while more wait than the sessions get through in that time, the API answers 503. 0 for no bound."`

	APIKey APIKey `env:"WABEK_API_KEY" absent:"made and shown once on the first start" demo:"demo" unit:"16 or more characters" secret:"true" doc:"The key that callers send in the header X-API-Key."`
	// The secret from which the keys of wabek are derived, or under which they are wrapped.
	Secret         keys.Secret `env:"WABEK_SECRET" absent:"standalone: made in the data directory; else an error" unit:"32 or more characters" secret:"true" doc:"Protects every stored key and seals the jobs. The same for every API of one wabek; 'openssl rand -base64 48' makes one."`
	SecretPrevious keys.Secret `env:"WABEK_SECRET_PREVIOUS" absent:"-" unit:"32 or more characters" secret:"true" doc:"The secret before the last change of WABEK_SECRET, for as long as anything made under it may be around."`
	Pool           string      `env:"WABEK_POOL" envDefault:"default" unit:"name" doc:"Pool of WhatsApp sessions that delivers the OTPs: 1 to 32 of a-z, 0-9 and dash."`

	OTPExpiryMinutes int `env:"OTP_EXPIRY_MINUTES" envDefault:"10" unit:"minutes" min:"1" max:"60" doc:"Life of an OTP. NIST SP 800-63B allows 10 minutes at most; more is possible and warned of."`
	OTPLength        int `env:"OTP_LENGTH" envDefault:"6" unit:"digits" min:"6" max:"10" doc:"Length of a code."`
	OTPMaxAttempts   int `env:"OTP_MAX_ATTEMPTS" envDefault:"5" unit:"tries" min:"1" max:"10" doc:"Wrong codes after which an OTP is locked."`

	OTPCooldownSeconds int    `env:"OTP_COOLDOWN_SECONDS" envDefault:"30" unit:"seconds" min:"0" max:"86400" doc:"Pause between two messages to one phone; 0 for none."`
	OTPMaxPerHour      int    `env:"OTP_MAX_PER_HOUR" envDefault:"6" unit:"messages" min:"0" max:"1000" doc:"Messages to one phone within an hour; 0 for no bound."`
	OTPMaxPerDay       int    `env:"OTP_MAX_PER_DAY" envDefault:"20" unit:"messages" min:"0" max:"1000" doc:"Messages to one phone within 24 hours; 0 for no bound."`
	OTPMaxWrongTries   int    `env:"OTP_MAX_WRONG_TRIES" envDefault:"100" unit:"tries" min:"0" max:"100" doc:"Wrong codes in a row for one phone, over all its OTPs, after which an operator must lift the lock. NIST SP 800-63B allows 100 at most; 0 for no bound."`
	OTPReissue         string `env:"OTP_REISSUE" envDefault:"supersede" values:"supersede|same" doc:"What a request does while an OTP of the same phone and purpose is open: a new code takes its place, or the same one is sent again."`

	// What follows, and the OTP settings above, are those of the default app, which other apps inherit.
	AppTitle       string    `env:"WABEK_APP_TITLE" envDefault:"wabek" unit:"1 to 40 characters" doc:"The name that messages give."`
	AppLocale      string    `env:"WABEK_LOCALE" envDefault:"en" unit:"language tag" doc:"Language of messages where neither the request nor the phone's country says another."`
	AppCountry     string    `env:"WABEK_COUNTRY" absent:"every number needs its country code" unit:"ISO 3166-1 alpha-2" doc:"Country whose numbers may come without a country code."`
	AllowCountries Countries `env:"WABEK_ALLOW_COUNTRIES" absent:"all" unit:"ISO 3166-1 alpha-2[,…]" doc:"Countries that OTPs are sent to."`
	DenyCountries  Countries `env:"WABEK_DENY_COUNTRIES" absent:"none" unit:"ISO 3166-1 alpha-2[,…]" doc:"Countries that no OTP is sent to, whatever WABEK_ALLOW_COUNTRIES says."`
	RatePerSecond  float64   `env:"WABEK_RATE_PER_SECOND" envDefault:"0" unit:"OTPs a second" min:"0" max:"100000" doc:"OTPs of the default app a second, on average; 0 for no bound."`
	RateBurst      int       `env:"WABEK_RATE_BURST" envDefault:"0" unit:"OTPs" min:"0" max:"100000" doc:"OTPs of the default app at once; 0 for a second's worth."`
	PerAddressHour int       `env:"WABEK_PER_ADDRESS_HOUR" envDefault:"0" unit:"OTPs" min:"0" max:"100000" doc:"OTPs for one end user's address (the request's ip) within an hour; 0 for no bound."`

	PublicURL      string   `env:"WABEK_PUBLIC_URL" absent:"as each request says" unit:"URL" doc:"Where others reach this server, like https://otp.example.com; for the console links and examples."`
	TextsDir       string   `env:"WABEK_TEXTS_DIR" absent:"the shipped texts alone" unit:"path" doc:"Directory of message texts that go before the shipped ones (docs/texts.md)."`
	NoticesDir     string   `env:"WABEK_NOTICES_DIR" absent:"the shipped texts alone" unit:"path" doc:"Directory of the texts of WHMCS notices that go before the shipped ones, and add to them (docs/notices.md)."`
	TrustedProxies Networks `env:"WABEK_TRUSTED_PROXIES" absent:"none" unit:"CIDR[,…]" doc:"Proxies in front of the API: what they say in X-Forwarded-For is believed. From others that header counts for nothing."`

	NoticesPerMinute int `env:"WABEK_NOTICES_PER_MINUTE" envDefault:"30" unit:"notices" min:"0" max:"60000" doc:"Invoice notices and the like that one WhatsApp session sends a minute, on average; OTPs aren't held to it. 0 for no bound, which WhatsApp takes badly."`

	OutboundNetworks  Networks `env:"WABEK_OUTBOUND_NETWORKS" absent:"none" unit:"CIDR[,…]" doc:"Private or otherwise special networks that callbacks may be posted to; without it they reach the public Internet alone."`
	OutboundHosts     Hosts    `env:"WABEK_OUTBOUND_HOSTS" absent:"none" unit:"name[,…]" doc:"Names that callbacks may be posted to wherever they lead."`
	OutboundPlainHTTP bool     `env:"WABEK_OUTBOUND_PLAIN_HTTP" envDefault:"false" unit:"true or false" doc:"Lets callbacks go to http addresses too, which anybody on the way can read."`

	DrainTimeout time.Duration `env:"WABEK_DRAIN_TIMEOUT" envDefault:"25s" unit:"duration" min:"1s" max:"10m" doc:"How long a stopping program waits for what is under way. Keep it below the grace period of what stops it."`
	WhatsApp     WhatsApp
	Log          Log
}

// OTPExpiry is the life of an OTP.
func (a API) OTPExpiry() time.Duration { return time.Duration(a.OTPExpiryMinutes) * time.Minute }

// Sender is the settings of cmd/sender.
type Sender struct {
	DataDir    string  `env:"WABEK_DATA_DIR" envDefault:"./data" unit:"path"`
	NATSURL    NATSURL `env:"WABEK_NATS_URL" absent:"an error" secret:"true" doc:"NATS servers to take jobs from, like nats://user:password@host:4222."`
	Pool       string  `env:"WABEK_POOL" envDefault:"default"`
	SenderAddr string  `env:"WABEK_SENDER_ADDR" absent:"off" unit:"host:port" doc:"Where a sender serves its own /healthz and /readyz."`

	PoolKeys PoolKeys `env:"WABEK_POOL_KEYS" absent:"derived from WABEK_SECRET, with a warning" unit:"pool:keyid:base64url[,…]" secret:"true" doc:"Keys that open the jobs of a sender's own pools, and of no other; 'api pool-keys POOL' prints them."`
	// Secret and SecretPrevious are empty once loaded: the sender keeps the seal keys of its pool alone.
	Secret         keys.Secret `env:"WABEK_SECRET" absent:"not needed with WABEK_POOL_KEYS" secret:"true" doc:"The same as the API's: stands in for WABEK_POOL_KEYS, with a warning, since it opens far more than a sender should."`
	SecretPrevious keys.Secret `env:"WABEK_SECRET_PREVIOUS" secret:"true"`

	NoticesPerMinute int           `env:"WABEK_NOTICES_PER_MINUTE" envDefault:"30" min:"0" max:"60000"`
	DrainTimeout     time.Duration `env:"WABEK_DRAIN_TIMEOUT" envDefault:"25s" min:"1s" max:"10m"`
	WhatsApp         WhatsApp
	Log              Log

	// SealKeys opens the jobs of the pool: from PoolKeys, or derived from the secret. Nil after LoadPair.
	SealKeys *keys.SealKeys
}

// Sim is the settings of cmd/whatsim, and of the simulator in cmd/demo.
type Sim struct {
	SimAddr string `env:"WABEK_SIM_ADDR" envDefault:"127.0.0.1:8090" unit:"host:port" doc:"Where the WhatsApp simulator listens: its control interface and the clients. It has no password, so keep it on loopback."`
	Log     Log
}

// WhatsApp says where WhatsApp is, for tests and the simulator. Zero: the real one.
type WhatsApp struct {
	Endpoint string  `env:"WABEK_WHATSAPP_ENDPOINT" absent:"the real WhatsApp" unit:"http://host:port" doc:"Another place to find WhatsApp at, like the simulator. Goes with WABEK_WHATSAPP_ROOT_KEY."`
	RootKey  RootKey `env:"WABEK_WHATSAPP_ROOT_KEY" absent:"the real WhatsApp's" unit:"64 hex digits" doc:"Public key of the certificate authority of WABEK_WHATSAPP_ENDPOINT."`
}

// Log is how a program logs.
type Log struct {
	Level  slog.Level `env:"WABEK_LOG_LEVEL" envDefault:"info" values:"debug|info|warn|error" doc:"The least important lines to log."`
	Format string     `env:"WABEK_LOG_FORMAT" envDefault:"text" values:"text|json" doc:"How log lines are written."`
}

// Warning is a setting that works and had better be another.
type Warning struct {
	Variable string
	Text     string // a sentence, without the variable's value where that is secret
}

// String is the variable and the sentence.
func (w Warning) String() string { return w.Variable + ": " + w.Text }
