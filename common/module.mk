# SPDX-License-Identifier: Apache-2.0
$(eval $(call library,common,$(wildcard common/*.c)))
