package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"wabek/internal/config"
	"wabek/internal/keys"
	"wabek/internal/otp"
)

var update = flag.Bool("update", false, "rewrite generated files")

const (
	secretText = "a-secret-of-some-thirty-six-characters"
	keyText    = "key-for-automation-1"
	rootKey    = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

func poolKeys(t *testing.T, pools ...string) string {
	t.Helper()
	secret, err := keys.NewSecret(secretText)
	require.NoError(t, err)
	return keys.DeriveSealKeys(secret, keys.Secret{}).Export(pools...)
}

func TestLoadAPI_WithNothingSetIsStandalone(t *testing.T) {
	t.Parallel()
	a, warnings, err := config.LoadAPI([]string{"HOME=/root", "PATH=/bin"})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, ":8080", a.Addr)
	require.Equal(t, "./data", a.DataDir)
	require.False(t, a.DataDirSet)
	require.True(t, a.NATSURL.IsZero())
	require.True(t, a.Secret.IsZero())
	require.True(t, a.APIKey.IsZero())
	require.True(t, a.WhatsApp.RootKey.IsZero())
	require.Equal(t, time.Minute, a.QueueGrace)
	require.Equal(t, 25*time.Second, a.DrainTimeout)
	require.Equal(t, "default", a.Pool)
	require.Equal(t, 10*time.Minute, a.OTPExpiry())
	require.Equal(t, 6, a.OTPLength)
	require.Equal(t, 5, a.OTPMaxAttempts)
	require.Equal(t, slog.LevelInfo, a.Log.Level)
	require.Equal(t, "text", a.Log.Format)
}

func TestLoadAPI_ReadsEveryVariable(t *testing.T) {
	t.Parallel()
	a, warnings, err := config.LoadAPI([]string{
		"WABEK_ADDR= 127.0.0.1:0 ", "PORT=9", "WABEK_DATA_DIR=/var/lib/wabek", "WABEK_NATS_URL=nats://u:p@a:4222, b",
		"WABEK_QUEUE_GRACE=90s", "WABEK_API_KEY=" + keyText + "\n", "WABEK_SECRET= " + secretText, "WABEK_SECRET_PREVIOUS=" + secretText + "-old",
		"WABEK_POOL=eu-1", "OTP_EXPIRY_MINUTES=11", "OTP_LENGTH=8", "OTP_MAX_ATTEMPTS=3", "WABEK_LOG_LEVEL=DEBUG", "WABEK_LOG_FORMAT=json",
		"WABEK_WHATSAPP_ENDPOINT=http://127.0.0.1:8090", "WABEK_WHATSAPP_ROOT_KEY=" + rootKey, "WABEK_DRAIN_TIMEOUT=3s",
	})
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0].String(), "OTP_EXPIRY_MINUTES: is above the 10 minutes")
	require.Equal(t, "127.0.0.1:0", a.Addr)
	require.Equal(t, "/var/lib/wabek", a.DataDir)
	require.True(t, a.DataDirSet)
	require.Equal(t, "nats://u:p@a:4222,nats://b", a.NATSURL.Reveal())
	require.Equal(t, "[nats servers]", a.NATSURL.String())
	require.Equal(t, 90*time.Second, a.QueueGrace)
	require.Equal(t, keyText, a.APIKey.Reveal())
	want, err := keys.NewSecret(secretText)
	require.NoError(t, err)
	require.Equal(t, want.ID(), a.Secret.ID())
	require.False(t, a.SecretPrevious.IsZero())
	require.Equal(t, "eu-1", a.Pool)
	require.Equal(t, 11*time.Minute, a.OTPExpiry())
	require.Equal(t, 8, a.OTPLength)
	require.Equal(t, 3, a.OTPMaxAttempts)
	require.Equal(t, slog.LevelDebug, a.Log.Level)
	require.Equal(t, "json", a.Log.Format)
	require.Equal(t, "http://127.0.0.1:8090", a.WhatsApp.Endpoint)
	require.Equal(t, byte(0x11), a.WhatsApp.RootKey[1])
	require.Equal(t, 3*time.Second, a.DrainTimeout)
}

func TestLoadAPI_PortStandsInForTheAddress(t *testing.T) {
	t.Parallel()
	a, _, err := config.LoadAPI([]string{"PORT=9000"})
	require.NoError(t, err)
	require.Equal(t, ":9000", a.Addr)
	a, _, err = config.LoadAPI([]string{"PORT=9000", "WABEK_ADDR=  "})
	require.NoError(t, err)
	require.Equal(t, ":9000", a.Addr, "an empty value is as none")
	a, _, err = config.LoadAPI([]string{"PORT=tcp://elsewhere", "WABEK_ADDR=:7"})
	require.NoError(t, err, "a PORT that isn't used isn't checked")
	require.Equal(t, ":7", a.Addr)
}

func TestLoad_NamesWhatIsWrongAndHowToMendIt(t *testing.T) {
	t.Parallel()
	api := func(e ...string) error { _, _, err := config.LoadAPI(e); return err }
	sender := func(e ...string) error {
		_, _, err := config.LoadSender(append([]string{"WABEK_NATS_URL=nats://a", "WABEK_SECRET=" + secretText}, e...))
		return err
	}
	bareSender := func(e ...string) error { _, _, err := config.LoadSender(e); return err }
	sim := func(e ...string) error { _, _, err := config.LoadSim(e); return err }
	for _, c := range []struct {
		load func(...string) error
		env  string
		want string
	}{
		{api, "WABEK_ADDR=8080", `WABEK_ADDR "8080" is not host:port; write it like :8080 or 127.0.0.1:8080`},
		{api, "WABEK_ADDR=:70000", `WABEK_ADDR ":70000" is not host:port`},
		{api, "PORT=http", `PORT "http" is not a port; write a number of 0 to 65535, or set WABEK_ADDR`},
		{api, "WABEK_QUEUE_GRACE=60", `WABEK_QUEUE_GRACE "60" is not a duration; write it like 30s or 2m`},
		{api, "WABEK_QUEUE_GRACE=-1s", `WABEK_QUEUE_GRACE is -1s; it must be within 0s to 1h`},
		{api, "WABEK_DRAIN_TIMEOUT=1h", `WABEK_DRAIN_TIMEOUT is 1h0m0s; it must be within 1s to 10m`},
		{api, "WABEK_API_KEY=short", "WABEK_API_KEY has 5 characters, at least 16 are needed; 'openssl rand -hex 24' makes one"},
		{api, "WABEK_API_KEY=sixteen characters", "WABEK_API_KEY may hold visible ASCII characters only"},
		{api, "WABEK_SECRET=too-short", "WABEK_SECRET secret is too short: it has 9 characters, at least 32 are needed (openssl rand -base64 48 makes one)"},
		{api, "WABEK_SECRET_PREVIOUS=x", "WABEK_SECRET_PREVIOUS secret is too short: it has 1 characters"},
		{api, "WABEK_NATS_URL=nats://a", "WABEK_SECRET is missing: with WABEK_NATS_URL every program needs the same secret of 32 or more characters"},
		{api, "WABEK_NATS_URL=http://a", "WABEK_NATS_URL address 1 must begin with nats://, tls://, ws:// or wss://"},
		{api, "WABEK_NATS_URL=a,nats://u:p%@h", "WABEK_NATS_URL address 2 can't be read; write it like nats://user:password@host:4222"},
		{api, "WABEK_NATS_URL=nats://a:99999", "WABEK_NATS_URL the port of address 1 is not within 0 to 65535"},
		{api, "WABEK_POOL=Default", `WABEK_POOL "Default" is no name of a pool; it has 1 to 32 of a-z, 0-9 and dash`},
		{api, "OTP_EXPIRY_MINUTES=0", "OTP_EXPIRY_MINUTES is 0; it must be within 1 to 60"},
		{api, "OTP_EXPIRY_MINUTES=10m", `OTP_EXPIRY_MINUTES "10m" is not a whole number of minutes, 1 to 60`},
		{api, "OTP_LENGTH=5", "OTP_LENGTH is 5; it must be within 6 to 10"},
		{api, "OTP_LENGTH=six", `OTP_LENGTH "six" is not a whole number of digits, 6 to 10`},
		{api, "OTP_LENGTH=99999999999999999999999999", `OTP_LENGTH a value of 26 characters is not a whole number`},
		{api, "OTP_MAX_ATTEMPTS=11", "OTP_MAX_ATTEMPTS is 11; it must be within 1 to 10"},
		{api, "WABEK_PUBLIC_URL=otp.example.com", "WABEK_PUBLIC_URL is not scheme and host alone; write it like https://otp.example.com"},
		{api, "WABEK_PUBLIC_URL=https://otp.example.com/console", "WABEK_PUBLIC_URL is not scheme and host alone"},
		{api, "WABEK_OUTBOUND_PLAIN_HTTP=yes", `WABEK_OUTBOUND_PLAIN_HTTP "yes" is neither true nor false`},
		{api, "WABEK_RATE_PER_SECOND=fast", `WABEK_RATE_PER_SECOND "fast" is not a number of OTPs a second`},
		{api, "WABEK_RATE_PER_SECOND=NaN", "WABEK_RATE_PER_SECOND is NaN; it must be within 0 to 100000"},
		{api, "WABEK_RATE_PER_SECOND=-1", "WABEK_RATE_PER_SECOND is -1; it must be within 0 to 100000"},
		{api, "WABEK_LOG_LEVEL=loud", `WABEK_LOG_LEVEL "loud" is not one of debug, info, warn, error`},
		{api, "WABEK_LOG_FORMAT=xml", `WABEK_LOG_FORMAT "xml" is not one of text, json`},
		{api, "WABEK_WHATSAPP_ENDPOINT=http://h:1", "WABEK_WHATSAPP_ROOT_KEY is missing: it goes with WABEK_WHATSAPP_ENDPOINT"},
		{api, "WABEK_WHATSAPP_ENDPOINT=h:1", "WABEK_WHATSAPP_ENDPOINT is not http://host:port"},
		{api, "WABEK_WHATSAPP_ROOT_KEY=" + rootKey, "WABEK_WHATSAPP_ENDPOINT is missing: it goes with WABEK_WHATSAPP_ROOT_KEY"},
		{api, "WABEK_WHATSAPP_ROOT_KEY=abc", "WABEK_WHATSAPP_ROOT_KEY must be 64 hex digits; whatsim -env FILE writes it"},
		{api, "WABEK_WHATSAPP_ROOT_KEY=" + strings.Repeat("0", 64), "WABEK_WHATSAPP_ROOT_KEY is all zeros"},
		{api, "WABEK_ADR=:80", "WABEK_ADR is known to no program of wabek; the nearest name is WABEK_ADDR. Mend or unset it"},
		{api, "WABEK_OTP_LENGTH=8", "WABEK_OTP_LENGTH is known to no program of wabek; the nearest name is OTP_LENGTH"},
		{api, "WABEK_PORT=9000", "WABEK_PORT is known to no program of wabek"},
		{api, "WABEK_NONSENSE=", "WABEK_NONSENSE is known to no program of wabek"},
		{sender, "WABEK_SENDER_ADDR=on", `WABEK_SENDER_ADDR "on" is not host:port`},
		{sender, "WABEK_POOL_KEYS=default:xx", "WABEK_POOL_KEYS malformed pool keys: entry 1 is not pool:keyid:base64url; `api pool-keys POOL` prints it"},
		{sender, "WABEK_POOL_KEYS=" + poolKeys(t, "other"), "WABEK_POOL_KEYS holds no key of the pool that WABEK_POOL names; 'api pool-keys POOL' prints it"},
		{sender, "WABEK_POOL=a_b", `WABEK_POOL "a_b" is no name of a pool`},
		{sender, "WABEK_SECRET=short", "WABEK_SECRET secret is too short"},
		{bareSender, "WABEK_SECRET=" + secretText, "WABEK_NATS_URL is missing: a sender takes its jobs from a NATS server; set it like nats://host:4222"},
		{bareSender, "WABEK_NATS_URL=a", "WABEK_POOL_KEYS is missing: a sender needs the keys of its pool"},
		{sim, "WABEK_SIM_ADDR=localhost", `WABEK_SIM_ADDR "localhost" is not host:port`},
	} {
		t.Run(c.env, func(t *testing.T) {
			t.Parallel()
			err := c.load(c.env)
			require.ErrorContains(t, err, c.want)
			var p *config.VariableError
			require.ErrorAs(t, err, &p)
		})
	}
}

// Addresses of version 4 are compared as such, so however they are written they are kept as such.
func TestLoadAPI_NetworksOfVersion4(t *testing.T) {
	t.Parallel()
	a, _, err := config.LoadAPI([]string{"WABEK_TRUSTED_PROXIES=::ffff:10.0.0.7, ::ffff:192.0.2.0/120, 10.1.2.3/8, 2001:db8::1"})
	require.NoError(t, err)
	require.Equal(t, "[10.0.0.7/32 192.0.2.0/24 10.0.0.0/8 2001:db8::1/128]", fmt.Sprint([]netip.Prefix(a.TrustedProxies)))
}

func TestLoadAPI_TellsEveryProblemAtOnceAndEachOnce(t *testing.T) {
	t.Parallel()
	_, _, err := config.LoadAPI([]string{"OTP_LENGTH=5", "WABEK_NATS_URL=a", "WABEK_SECRET=short", "WABEK_QUEUE_GRACE=x", "WABEK_TYPO=1"})
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 4, err)
	for i, name := range []string{"WABEK_QUEUE_GRACE", "WABEK_SECRET", "OTP_LENGTH", "WABEK_TYPO"} {
		require.Truef(t, strings.HasPrefix(lines[i], name+" "), "line %d: %s", i, lines[i])
	}
}

func TestLoad_PassesOverOtherProgramsVariablesAndServiceLinks(t *testing.T) {
	t.Parallel()
	_, _, err := config.LoadAPI([]string{
		"WABEK_SIM_ADDR=:1", "WABEK_SENDER_ADDR=:1", "WABEK_POOL_KEYS=not even looked at",
		"WABEK_API_SERVICE_HOST=10.0.0.1", "WABEK_API_SERVICE_PORT=8080", "WABEK_API_SERVICE_PORT_HTTP=8080",
		"WABEK_API_PORT=tcp://10.0.0.1:8080", "WABEK_API_PORT_8080_TCP=tcp://10.0.0.1:8080", "WABEK_API_PORT_8080_TCP_PROTO=tcp",
		"WABEK_API_PORT_8080_TCP_PORT=8080", "WABEK_API_PORT_8080_TCP_ADDR=10.0.0.1", "WABEK_MY_NATS_2_SERVICE_HOST=10.0.0.2",
		"WABEK_SERVICE_HOST=10.0.0.3", "WABEK_PORT=tcp://10.0.0.3:80", "WABEK_DNS_PORT_53_UDP=udp://10.0.0.4:53", "WABEKISH=1",
	})
	require.NoError(t, err)
}

func TestLoad_WarnsOfAMistypedOTPName(t *testing.T) {
	t.Parallel()
	_, warnings, err := config.LoadAPI([]string{"OTP_LENGTHS=8", "OTP_VERSION=27"})
	require.NoError(t, err)
	require.Equal(t, []config.Warning{{Variable: "OTP_LENGTHS", Text: "is no setting of wabek; did you mean OTP_LENGTH?"}}, warnings)
}

func TestLoadSender_KeepsThePoolsKeysAndNoSecret(t *testing.T) {
	t.Parallel()
	secret, err := keys.NewSecret(secretText)
	require.NoError(t, err)
	sealed, err := keys.DeriveSealKeys(secret, keys.Secret{}).Seal("eu", nil, []byte("job"))
	require.NoError(t, err)
	for _, c := range []struct {
		name     string
		env      []string
		warnings int
	}{
		{"from pool keys", []string{"WABEK_POOL_KEYS=" + poolKeys(t, "eu")}, 0},
		{"from the secret, with a warning", []string{"WABEK_SECRET=" + secretText}, 1},
		{"from pool keys beside a secret, with a warning", []string{"WABEK_POOL_KEYS=" + poolKeys(t, "eu", "us"), "WABEK_SECRET=" + secretText}, 1},
		{"from the previous secret", []string{"WABEK_SECRET=" + secretText + "-new", "WABEK_SECRET_PREVIOUS=" + secretText}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, warnings, err := config.LoadSender(append(c.env, "WABEK_NATS_URL=a", "WABEK_POOL=eu", "WABEK_SENDER_ADDR=:0"))
			require.NoError(t, err)
			require.Len(t, warnings, c.warnings)
			require.True(t, s.Secret.IsZero())
			require.True(t, s.SecretPrevious.IsZero())
			require.Equal(t, ":0", s.SenderAddr)
			plain, err := s.SealKeys.Open("eu", nil, sealed)
			require.NoError(t, err)
			require.Equal(t, "job", string(plain))
			_, err = s.SealKeys.Seal("asia", nil, nil)
			require.ErrorIs(t, err, keys.ErrNoKey)
		})
	}
}

func TestLoadPair_NeedsNeitherNATSNorAKey(t *testing.T) {
	t.Parallel()
	s, warnings, err := config.LoadPair([]string{"WABEK_DATA_DIR=/d"})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, "/d", s.DataDir)
	require.Nil(t, s.SealKeys)
}

func TestLoadSim_ListensOnLoopback(t *testing.T) {
	t.Parallel()
	s, _, err := config.LoadSim(nil)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8090", s.SimAddr)
}

// TestNoSecretIsEverShown sets secrets, good and bad, and looks for them in all that may reach a log.
func TestNoSecretIsEverShown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[A-Za-z0-9:/%@,. -]{0,20}S3cret[A-Za-z0-9:/%@,-]{0,40}`)
		var environ []string
		for _, name := range []string{"WABEK_SECRET", "WABEK_SECRET_PREVIOUS", "WABEK_API_KEY", "WABEK_POOL_KEYS"} {
			environ = append(environ, name+"="+text.Draw(t, name))
		}
		scheme := rapid.SampledFrom([]string{"nats://u:", "http://", "", "nats://", "%"}).Draw(t, "scheme")
		environ = append(environ, "WABEK_NATS_URL="+scheme+text.Draw(t, "password")+"@host:4222", "OTP_LENGTH=x", "WABEK_X=1")
		var shown bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&shown, nil))
		for _, load := range []func() (any, []config.Warning, error){
			func() (any, []config.Warning, error) { return wrap(config.LoadAPI(environ)) },
			func() (any, []config.Warning, error) { return wrap(config.LoadSender(environ)) },
			func() (any, []config.Warning, error) { return wrap(config.LoadPair(environ)) },
		} {
			c, warnings, err := load()
			fmt.Fprintln(&shown, err, warnings)
			fmt.Fprintf(&shown, "%v %+v %#v\n", c, c, c)
			log.Info("settings", "config", c)
			_ = json.NewEncoder(&shown).Encode(c)
		}
		if strings.Contains(shown.String(), "S3cret") {
			t.Fatalf("a secret is shown: %s", shown.String())
		}
	})
}

func wrap[T any](c T, w []config.Warning, err error) (any, []config.Warning, error) { return c, w, err }

func TestOTPBoundsAreTheDomains(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"OTP_EXPIRY_MINUTES": fmt.Sprintf("minutes, %d to %d", int(otp.MinExpiry.Minutes()), int(otp.MaxExpiry.Minutes())),
		"OTP_LENGTH":         fmt.Sprintf("digits, %d to %d", otp.MinLength, otp.MaxLength),
		"OTP_MAX_ATTEMPTS":   fmt.Sprintf("tries, %d to %d", otp.MinAttempts, otp.MaxAttempts),
	} {
		for _, v := range config.Variables(config.ProgramAPI) {
			if v.Name == name {
				require.Equal(t, want, v.Unit)
			}
		}
	}
	_, warnings, err := config.LoadAPI([]string{fmt.Sprintf("OTP_EXPIRY_MINUTES=%d", int(otp.RecommendedExpiry.Minutes()))})
	require.NoError(t, err)
	require.Empty(t, warnings)
}

func TestUsage_ListsEveryVariableWithDefaultAndUnit(t *testing.T) {
	t.Parallel()
	for _, program := range []string{config.ProgramAPI, config.ProgramDemo, config.ProgramSender, config.ProgramSim} {
		usage := config.Usage(program)
		for _, v := range config.Variables(program) {
			require.Contains(t, usage, "\n  "+v.Name+"  (")
			require.NotEmpty(t, v.Doc, v.Name)
			require.NotEmpty(t, v.Default+v.Absent, v.Name)
		}
	}
	require.Contains(t, config.Usage("api"), "WABEK_QUEUE_GRACE  (duration, 0s to 1h)\n      default: 60s\n")
	require.NotContains(t, config.Usage("api"), "WABEK_SENDER_ADDR")
	require.NotContains(t, config.Usage("sender"), "OTP_LENGTH")
	require.Contains(t, config.Usage("demo"), "WABEK_SIM_ADDR")
	require.Contains(t, config.Usage("demo"), "default: none; a temporary directory")
}

func TestDocumentationIsUpToDate(t *testing.T) {
	t.Parallel()
	const file = "../../docs/configuration.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(config.Markdown()), 0o644))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(have), config.Markdown(), "run go test ./internal/config -update")
}
