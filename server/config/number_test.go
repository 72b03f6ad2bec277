package config

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestDecimal(t *testing.T) {
	for _, row := range []struct {
		text     string
		exponent int
		want     int64
		err      string
	}{
		{"0", 0, 0, ""},
		{"7", 0, 7, ""},
		{"007", 0, 7, ""},
		{"10_000", 0, 10_000, ""},
		{"1_000.5k", 0, 1_000_500, ""},
		{"2M", 0, 2_000_000, ""},
		{"1.5G", 0, 1_500_000_000, ""},
		{"0.0020k", 0, 2, ""},
		{"-3", 0, -3, ""},
		{"1.25", 6, 1_250_000, ""},
		{"0.000001", 6, 1, ""},
		{"9223372036854775807", 0, 1<<63 - 1, ""},
		{"9223372036854775808", 0, 0, `"9223372036854775808" is too large`},
		{"99999999999G", 0, 0, `"99999999999G" is too large`},
		{"0.0000001", 6, 0, `"0.0000001" has more decimals than are counted`},
		{"1.0005k", 0, 0, `"1.0005k" has more decimals than are counted`},
		{"1.5", 0, 0, `"1.5" is not a whole number`},
		{"", 0, 0, `"" is not a number`},
		{"k", 0, 0, `"k" is not a number`},
		{"-", 0, 0, `"-" is not a number`},
		{"--1", 0, 0, `"--1" is not a number`},
		{".5", 6, 0, `".5" is not a number`},
		{"5.", 6, 0, `"5." is not a number`},
		{"1_", 0, 0, `"1_" is not a number`},
		{"_1", 0, 0, `"_1" is not a number`},
		{"1__0", 0, 0, `"1__0" is not a number`},
		{"1e6", 0, 0, `"1e6" is not a number`},
		{"0x10", 0, 0, `"0x10" is not a number`},
		{"1 000", 0, 0, `"1 000" is not a number`},
	} {
		got, err := decimal(row.text, row.exponent)
		if got != row.want || message(err) != row.err {
			t.Errorf("decimal(%q, %d) = %d, %v; want %d, %s", row.text, row.exponent, got, err, row.want, row.err)
		}
	}
}

func TestProportion(t *testing.T) {
	for _, row := range []struct {
		text      string
		want      int64
		err, hint string
	}{
		{"10%", 100_000, "", ""},
		{"0.1", 100_000, "", ""},
		{"2.5%", 25_000, "", ""},
		{"0.0001%", 1, "", ""},
		{"1", 1_000_000, "", ""},
		{"100%", 1_000_000, "", ""},
		{"150%", 1_500_000, "", ""}, // the bounds are the caller's
		{"10", 0, `"10" is more than the whole`, "10%"},
		{"0.00001%", 0, `"0.00001" has more decimals than are counted`, ""},
		{"1k%", 0, `"1k%" is not a share such as 10% or 0.1`, ""},
		{"ten", 0, `"ten" is not a share such as 10% or 0.1`, ""},
	} {
		got, err := proportion(row.text, 6)
		if got != row.want || message(err) != row.err || hintOf(err) != row.hint {
			t.Errorf("proportion(%q) = %d, %v, %q; want %d, %s, %q", row.text, got, err, hintOf(err), row.want, row.err, row.hint)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, row := range []struct {
		text      string
		want      span
		err, hint string
	}{
		{"s", span{length: time.Second}, "", ""},
		{"min", span{length: time.Minute}, "", ""},
		{"m", span{length: time.Minute}, "", ""},
		{"h", span{length: time.Hour}, "", ""},
		{"day", span{day, true, limiter.Day}, "", ""},
		{"week", span{week, true, limiter.Week}, "", ""},
		{"month", span{0, true, limiter.Month}, "", ""},
		{"10s", span{length: 10 * time.Second}, "", ""},
		{"24h", span{length: 24 * time.Hour}, "", ""},
		{"1h30m", span{length: 90 * time.Minute}, "", ""},
		{"10min", span{length: 10 * time.Minute}, "", ""},
		{"2day", span{length: 48 * time.Hour}, "", ""},
		{"hour", span{}, `"hour" is not a window such as s, min, h, day, week, month or 10s`, "h"},
		{"7d", span{}, `"7d" is not a window such as s, min, h, day, week, month or 10s`, "7day"},
		{"2month", span{}, `"2month" is not a window such as s, min, h, day, week, month or 10s`, ""},
		{"60", span{}, `"60" is not a window such as s, min, h, day, week, month or 10s`, "60s"},
		{"9999999999week", span{}, `"9999999999week" is not a window such as s, min, h, day, week, month or 10s`, ""},
		{"", span{}, `"" is not a window such as s, min, h, day, week, month or 10s`, ""},
	} {
		got, err := window(row.text)
		if got != row.want || message(err) != row.err || hintOf(err) != row.hint {
			t.Errorf("window(%q) = %+v, %v, %q; want %+v, %s, %q", row.text, got, err, hintOf(err), row.want, row.err, row.hint)
		}
	}
}

func TestText(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{short(time.Minute), "1m"},
		{short(time.Hour), "1h"},
		{short(90 * time.Minute), "1h30m"},
		{short(700 * time.Millisecond), "700ms"},
		{short(61 * time.Second), "1m1s"},
		{grouped(7), "7"},
		{grouped(123), "123"},
		{grouped(1234567), "1,234,567"},
		{fraction(1_250_000, 6), "1.25"},
		{fraction(1, 6), "0.000001"},
		{fraction(0, 6), "0"},
		{fraction(500_000_000, 6), "500"},
		{amountText(limiter.Cost, 500_000), "$0.5"},
	} {
		if row.got != row.want {
			t.Errorf("got %s, want %s", row.got, row.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
